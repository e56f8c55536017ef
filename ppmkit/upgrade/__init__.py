"""Upgrade steps and rollback steps."""
