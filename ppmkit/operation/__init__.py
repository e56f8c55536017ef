"""What deploy, rollback and restore share: steps with undo, the journal, several hosts."""
