"""SQLite: copy, verify, compare and replace a database that other processes use."""
