"""One function for each command: what it does."""
