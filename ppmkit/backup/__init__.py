"""Backups that the steward on a host makes."""
