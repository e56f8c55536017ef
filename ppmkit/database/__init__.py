"""The migration gate, and the hold: changing the database while requests wait."""
