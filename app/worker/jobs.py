"""The worker's jobs, and their intervals. A new job is one line here: its name, its interval, its function.

Nothing else is needed to ensure that only one worker runs it, that an upgrade neither repeats nor skips it, and that it
is recorded.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from app.database import Database
from app.settings import Settings
from app.worker.git import Git
from app.worker.job import Job
from app.worker.scans import SCAN, Scanner
from app.worker.ssh import Ssh

SCAN_DEADLINE_SECONDS = 300.0
MIRROR_BYTES = 512 << 20


def jobs(settings: Settings, database: Database, ssh: Ssh | None = None) -> tuple[Job, ...]:
    """Return the worker's jobs."""
    allowed = settings.scan_private_addresses, settings.scan_files, ssh
    git = Git(mirrors(settings, database), SCAN_DEADLINE_SECONDS, MIRROR_BYTES, *allowed)
    scanner = Scanner(git, timedelta(minutes=settings.scan_interval_minutes))
    return (
        Job(SCAN, timedelta(seconds=5), scanner.scan_due, cut_short=git.cancel),
        Job("clean", timedelta(hours=1), scanner.clean),
    )


def mirrors(settings: Settings, database: Database) -> Path:
    """Return the mirrors' folder: in the cache; without one, next to SQLite's file, or in the temporary folder."""
    fallback = database.file.parent if database.file else Path(tempfile.gettempdir())
    return (settings.cache_directory or fallback) / "mirrors"
