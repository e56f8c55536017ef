"""SQLite: copying, verifying, comparing and replacing a database that others use."""
