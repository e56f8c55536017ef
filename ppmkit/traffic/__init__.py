"""Users' requests: the access log, counts by route, comparing two releases."""
