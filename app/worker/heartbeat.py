"""Heartbeats: for each worker, active or on standby, one row in job_runs, and a file in its container."""

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
"""Touched with each beat that was written to the database. The container's health check reads its time, which costs
nothing: a check that starts Python to ask the database would take CPU time from the api, every time."""


def worker_name() -> str:
    """Return a unique name for this process: its host name, which in a container is the container's id, and a random
    suffix."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


class Heartbeat:
    """The heartbeat of one worker."""

    def __init__(self, leases: Leases, release: str, file: Path = FILE) -> None:
        self.leases, self.release, self.file = leases, release, file
        self.database, self.worker = leases.database, leases.worker
        self.since = now()

    def beat(self) -> None:
        """Record that this worker is alive, and its release; renew its leases if it has any."""
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
        """Remove the heartbeat, so that this worker does not count as missing."""
        self.file.unlink(missing_ok=True)
        with self.database.write() as session:
            session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == self.worker))
