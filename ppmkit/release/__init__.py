"""A release: what it consists of, its files, the records of what was deployed."""
