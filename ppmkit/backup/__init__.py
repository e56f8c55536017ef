"""Backups, as the steward on a host makes them."""
