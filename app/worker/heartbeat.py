"""A sign of life: one row of job_runs for each worker, whether it works or is on standby."""

from __future__ import annotations

import secrets
import socket
from datetime import timedelta

from sqlalchemy import delete, select

from app.database import Database
from app.models import JobRun, now
from app.worker.lease import Leases

HEARTBEAT = "heartbeat"
HEARTBEAT_SECONDS = 10
STALE_SECONDS = 3 * HEARTBEAT_SECONDS
FORGET = timedelta(days=1)


def worker_name() -> str:
    """Return a name for this process: its host's, which of a container is its id, and what no other process has."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


class Heartbeat:
    """Of one worker."""

    def __init__(self, leases: Leases, release: str) -> None:
        self.leases, self.release = leases, release
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

    def leave(self) -> None:
        """Take the heartbeat away, so that nobody misses it."""
        with self.database.write() as session:
            session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == self.worker))


def age(database: Database, host: str) -> float | None:
    """Return how many seconds ago the worker on a host gave its last sign of life; None if it never did."""
    chosen = select(JobRun.finished_at).where(JobRun.job == HEARTBEAT)
    chosen = chosen.where(JobRun.worker.startswith(f"{host}-", autoescape=True))
    with database.read() as session:
        last = session.scalar(chosen.order_by(JobRun.finished_at.desc()).limit(1))
    return None if last is None else (now() - last).total_seconds()
