"""The worker: scheduled jobs."""
