"""The migration gate, and changing the database while requests wait."""
