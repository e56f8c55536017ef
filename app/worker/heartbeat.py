"""A sign of life: one row of job_runs for each worker, and the lease on a job that only one worker may do."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from app.database import Database
from app.models import JobRun, Lease, now

HEARTBEAT = "heartbeat"
HEARTBEAT_SECONDS = 10
STALE_SECONDS = 3 * HEARTBEAT_SECONDS
LEASE = timedelta(seconds=STALE_SECONDS)
FORGET = timedelta(days=1)


@dataclass(frozen=True)
class Heartbeat:
    """Of one worker. Its name is its host's, which of a container is its id."""

    database: Database
    worker: str = field(default_factory=socket.gethostname)
    since: datetime = field(default_factory=now)

    def beat(self, release: str) -> None:
        """Record that this worker lives, and which release it is; keep its leases if it has any."""
        with self.database.write() as session:
            time = now()
            row = session.scalar(self._mine())
            if row is None:
                row = JobRun(job=HEARTBEAT, worker=self.worker)
                session.add(row)
            row.release, row.started_at, row.finished_at, row.outcome = release, self.since, time, "ok"
            for lease in session.scalars(select(Lease).where(Lease.worker == self.worker)):
                lease.expires_at = time + LEASE
            session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.finished_at < time - FORGET))

    def age(self) -> float | None:
        """Return how many seconds ago this worker gave its last sign of life; None if it never did."""
        with self.database.read() as session:
            last = session.scalar(self._mine())
        return None if last is None else (now() - last.finished_at).total_seconds()

    def take_lease(self, job: str) -> bool:
        """Return whether this worker may do the job: nobody else holds its lease, or let it run out."""
        with self.database.write() as session:
            lease = session.get(Lease, job)
            if lease is None:
                lease = Lease(job=job)
                session.add(lease)
            elif lease.worker != self.worker and lease.expires_at > now():
                return False
            lease.worker, lease.expires_at = self.worker, now() + LEASE
        return True

    def holds_lease(self, session: Session, job: str) -> bool:
        """Return whether this worker still may write what it found; asked in the transaction that writes it."""
        lease = session.get(Lease, job)
        return lease is not None and lease.worker == self.worker and lease.expires_at > now()

    def leave(self) -> None:
        """Give the leases back and take the heartbeat away: the next worker need not wait, and none is missed."""
        with self.database.write() as session:
            session.execute(delete(Lease).where(Lease.worker == self.worker))
            session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == self.worker))

    def _mine(self) -> Select[JobRun]:
        return select(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == self.worker).limit(1)
