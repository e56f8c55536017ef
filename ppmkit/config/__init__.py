"""The typed environment, and reading it."""
