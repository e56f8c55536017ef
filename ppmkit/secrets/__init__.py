"""Secrets: which there are, where they are stored, how they get to a host."""
