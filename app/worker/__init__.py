"""The worker: what happens on a schedule."""
