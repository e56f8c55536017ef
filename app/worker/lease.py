"""Which worker may run a job: one row of `leases` per job, which expires unless its worker renews it.

Only the database decides which worker holds a lease, and the transaction that writes a result checks it. So a worker
that was paused, or whose clock jumped, can be late or wrong about the time, but it cannot write a result for a job that
another worker has taken over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import Database
from app.models import Lease, now

LEASE = timedelta(seconds=30)
"""Renewed with each heartbeat. The jobs of a killed worker do not run for at most this long."""


class LeaseLost(Exception):
    """Another worker has taken the job over; this worker's result is not written."""


class Leases:
    """The leases of one process. Its name must be unique: of two processes with one name, each would hold the other's
    leases, too."""

    def __init__(self, database: Database, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.database, self.worker = database, worker
        self._clock = clock
        self._watched: dict[str, tuple[tuple[str, datetime], float]] = {}

    def holds(self, job: str) -> bool:
        """Return whether this worker has a job's lease."""
        with self.database.read() as session:
            return self._is_mine(session.get(Lease, job))

    def take(self, job: str) -> bool:
        """Take a job's lease unless another worker has it; return whether this worker has it now.

        A poll costs only a read; only an available lease costs a write.
        """
        with self.database.read() as session:
            if not self._is_free(session.get(Lease, job)):
                return False
        try:
            with self.database.write() as session:
                lease = session.get(Lease, job, with_for_update=True)
                if not self._is_free(lease):
                    return False
                if lease is None:
                    session.add(Lease(job=job, worker=self.worker, expires_at=now() + LEASE))
                else:
                    lease.worker, lease.expires_at = self.worker, now() + LEASE
        except IntegrityError:  # there was no row to lock, and another worker has added it meanwhile
            return False
        return True

    def check(self, session: Session, job: str) -> None:
        """Raise LeaseLost unless this worker has the lease; if so, it keeps it until the end of the transaction.

        An expired lease counts as held, as long as no other worker took it.
        """
        if not self._is_mine(session.get(Lease, job, with_for_update=True)):
            raise LeaseLost(job)

    def give_back(self, job: str) -> None:
        """If this worker has the lease, delete it, so that another worker can take the job at once."""
        with self.database.write() as session:
            session.execute(delete(Lease).where(Lease.job == job, Lease.worker == self.worker))

    def renew(self, session: Session) -> None:
        """Extend every lease that this worker has, including expired ones that no other worker took."""
        session.execute(update(Lease).where(Lease.worker == self.worker).values(expires_at=now() + LEASE))

    def _is_mine(self, lease: Lease | None) -> bool:
        return lease is not None and lease.worker == self.worker

    def _is_free(self, lease: Lease | None) -> bool:
        """Return whether no other worker has the lease, or it has expired, or it was not renewed for a lease's duration
        while this worker watched it.

        The last case needs only this process's monotonic clock: after the system clock was set back, a dead worker's
        lease would otherwise last too long.
        """
        if lease is None or lease.worker == self.worker or lease.expires_at <= now():
            return True
        state = lease.worker, lease.expires_at
        last, since = self._watched.get(lease.job, (None, 0.0))
        if last != state:
            self._watched[lease.job] = state, self._clock()
            return False
        return self._clock() - since >= LEASE.total_seconds()
