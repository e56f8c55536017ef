"""Migration gate and hold: database changes while requests wait."""
