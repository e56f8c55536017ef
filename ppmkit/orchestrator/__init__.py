"""The containers on a host, and one-off containers."""
