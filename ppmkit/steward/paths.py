"""Where the steward finds its folders: on a host they have the same names, below the environment's directory.

Nothing but names: whoever looks all day imports no more than this.
"""

from __future__ import annotations

from pathlib import Path

BACKUPS = Path("/backups")
"""The backups, unless the settings name another place."""
FACTS = Path("/facts")
"""What it knows, for others to read."""
SNAPSHOTS, RESTORE, REHEARSAL = "snapshots", "restore", "rehearsal"
"""Folders beside the database: copies of before it was changed, backups that are made ready, what is tried out."""
OWN = (BACKUPS.name, FACTS.name)
"""What belongs to the steward's user on a host, and outlives the application."""
DOCUMENT, METRICS = "backups.json", "backups.prom"
"""Files of that: for people and programs, and for Prometheus."""
