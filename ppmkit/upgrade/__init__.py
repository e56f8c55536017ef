"""The steps of an upgrade and of a rollback."""
