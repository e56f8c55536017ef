"""Benchmarks: each prints the table that docs/benchmarks.md shows, with the command that makes it."""
