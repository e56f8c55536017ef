"""The steps of a restore."""
