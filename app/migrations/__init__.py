"""Alembic's revisions. Each declares whether the previous release can run on it: see app/schema.py."""
