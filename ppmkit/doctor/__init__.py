"""Checks of this machine and the hosts; they change nothing."""
