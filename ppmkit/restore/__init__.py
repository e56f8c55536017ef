"""Restore steps."""
