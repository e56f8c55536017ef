"""Alembic's revisions. Each says whether the release before it can run on it: see app/schema.py."""
