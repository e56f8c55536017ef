"""A sign of life: one row of job_runs for each worker, and the lease on the scan."""

from __future__ import annotations

import socket
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.database import Database
from app.models import JobRun, Lease, now

HEARTBEAT = "heartbeat"
HEARTBEAT_SECONDS = 10
STALE_SECONDS = 3 * HEARTBEAT_SECONDS
LEASE = timedelta(seconds=STALE_SECONDS)
FORGET = timedelta(days=1)
_STARTED = now()


def me() -> str:
    """Return what this worker is called: its host, which of a container is its id."""
    return socket.gethostname()


def beat(database: Database, release: str) -> None:
    """Record that this worker lives, and keep its lease if it has one."""
    with database.write() as session:
        time = now()
        row = session.scalar(select(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == me()))
        if row is None:
            row = JobRun(job=HEARTBEAT, worker=me())
            session.add(row)
        row.release, row.started_at, row.finished_at, row.outcome = release, _STARTED, time, "ok"
        lease = session.scalar(select(Lease).where(Lease.worker == me()))
        if lease is not None:
            lease.expires_at = time + LEASE
        session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.finished_at < time - FORGET))


def age(database: Database) -> float | None:
    """Return how many seconds ago this worker gave its last sign of life; None if it never did."""
    with database.read() as session:
        last = session.scalar(select(JobRun.finished_at).where(JobRun.job == HEARTBEAT, JobRun.worker == me()).limit(1))
    return None if last is None else (now() - last).total_seconds()


def take_lease(database: Database, job: str) -> bool:
    """Return whether this worker may do the job: nobody else holds its lease, or let it run out."""
    with database.write() as session:
        lease = session.get(Lease, job)
        if lease is None:
            lease = Lease(job=job)
            session.add(lease)
        elif lease.worker != me() and lease.expires_at > now():
            return False
        lease.worker, lease.expires_at = me(), now() + LEASE
    return True


def holds_lease(session: Session, job: str) -> bool:
    """Return whether this worker still may write what it found; asked in the transaction that writes it."""
    lease = session.get(Lease, job)
    return lease is not None and lease.worker == me() and lease.expires_at > now()


def leave(database: Database) -> None:
    """Give the lease back and take the heartbeat away: the next worker need not wait, and none is missed."""
    with database.write() as session:
        session.execute(delete(Lease).where(Lease.worker == me()))
        session.execute(delete(JobRun).where(JobRun.job == HEARTBEAT, JobRun.worker == me()))
