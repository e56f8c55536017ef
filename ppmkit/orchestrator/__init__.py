"""The containers on a host."""
