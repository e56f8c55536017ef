"""What users asked the proxy for, and what it tells of a release."""
