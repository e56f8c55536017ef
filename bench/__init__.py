"""Benchmarks: each prints the table that docs/benchmarks.md shows, with the command that makes it."""

POLITE = ("chrt", "--idle", "0")
"""Whoever deploys is, as a rule, on another machine than the host: here it must not take the host's processor."""
