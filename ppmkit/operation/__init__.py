"""What deploy, rollback and restore share: the journal, undo, the lock, who is told."""
