"""A sign of life: for each worker, at work or on standby, one row of job_runs, and a file in its container."""

from __future__ import annotations

import secrets
import socket
import tempfile
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, select

from app.models import JobRun, now
from app.worker.lease import Leases

HEARTBEAT = "heartbeat"
HEARTBEAT_SECONDS = 10
STALE_SECONDS = 3 * HEARTBEAT_SECONDS
FORGET = timedelta(days=1)
FILE = Path(tempfile.gettempdir()) / "heartbeat"
"""Touched with each beat that was written. The container's health check looks at its time, which costs nothing: one
that starts a Python to ask the database takes the processor from what serves, every time."""


def worker_name() -> str:
    """Return a name for this process: its host's, which of a container is its id, and what no other process has."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


class Heartbeat:
    """Of one worker."""

    def __init__(self, leases: Leases, release: str, file: Path = FILE) -> None:
        self.leases, self.release, self.file = leases, release, file
        self.database, self.worker = leases.database, leases.worker
        self.since = now()

    def beat(self) -> None:
        """Record that this worker lives, and which release it is; keep its leases if it has any."""
        with self.database.write() as session:
            time = now()
            row = session.scalar(select(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == self.worker))
            if row is None:
                row = JobRun(job=HEARTBEAT, worker=self.worker)
                session.add(row)
            row.release, row.started_at, row.finished_at, row.outcome = self.release, self.since, time, "ok"
            self.leases.renew(session)
            session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.finished_at < time - FORGET))
        self.file.touch()

    def leave(self) -> None:
        """Take the heartbeat away, so that nobody misses it."""
        self.file.unlink(missing_ok=True)
        with self.database.write() as session:
            session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == self.worker))
