"""The steward's folders. On a host they have the same names, below the environment's directory.

This module contains only names, because the health check, which runs all day, imports it.
"""

from __future__ import annotations

from pathlib import Path

BACKUPS = Path("/backups")
"""The backups, unless the settings name another folder."""
FACTS = Path("/facts")
"""The steward's reports for other programs."""
SNAPSHOTS, RESTORE, REHEARSAL = "snapshots", "restore", "rehearsal"
"""Folders next to the database: copies from before a change, staged backups, rehearsals."""
OWN = (BACKUPS.name, FACTS.name)
"""Folders that belong to the steward's user on a host and outlive the application."""
DOCUMENT, METRICS = "backups.json", "backups.prom"
"""Files in FACTS: for programs, and for Prometheus."""
