"""The steward: runs in its own container; copies, verifies and restores the database. Imports nothing of the kit."""
