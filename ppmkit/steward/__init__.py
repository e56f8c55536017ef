"""Runs in the steward's container: copies, checks and brings back a SQLite database. Imports nothing of the kit."""
