"""Backups of the environments: what the commands do, by asking the steward on each host."""
