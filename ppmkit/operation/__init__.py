"""Shared parts of deploy, rollback and restore: steps with undo, the journal, several hosts."""
