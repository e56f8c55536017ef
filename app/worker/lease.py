"""Which worker may do a job: a row of `leases` for each job, which runs out unless its worker renews it.

The database alone says who holds a lease, and it is asked in the transaction that writes a result. So a worker that
was paused, or whose clock jumped, can be late or wrong about the time; it cannot write what another has taken over.
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
"""Renewed with each heartbeat. A worker that was killed leaves its jobs undone for no longer than this."""


class LeaseLost(Exception):
    """Another worker has taken the job over; what this one has found is not written."""


class Leases:
    """Those of one process. Its name is its own: two processes of one name would both hold what either took."""

    def __init__(self, database: Database, worker: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.database, self.worker = database, worker
        self._clock = clock
        self._watched: dict[str, tuple[tuple[str, datetime], float]] = {}

    def holds(self, job: str) -> bool:
        """Return whether this worker has the lease of a job."""
        with self.database.read() as session:
            return self._is_mine(session.get(Lease, job))

    def take(self, job: str) -> bool:
        """Take the lease of a job unless another worker has it; return whether this worker has it now.

        One that polls costs a read; only one that can be had costs a write.
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
        except IntegrityError:  # there was none to lock, and another worker has made it meanwhile
            return False
        return True

    def check(self, session: Session, job: str) -> None:
        """Raise LeaseLost unless this worker has the lease, until the end of a transaction that writes.

        That a lease has run out does not matter here, as long as nobody took it.
        """
        if not self._is_mine(session.get(Lease, job, with_for_update=True)):
            raise LeaseLost(job)

    def give_back(self, job: str) -> None:
        """Let another worker have the job at once, if this one has it."""
        with self.database.write() as session:
            session.execute(delete(Lease).where(Lease.job == job, Lease.worker == self.worker))

    def renew(self, session: Session) -> None:
        """Put off the end of every lease that this worker has; one that ran out too, if nobody took it."""
        session.execute(update(Lease).where(Lease.worker == self.worker).values(expires_at=now() + LEASE))

    def _is_mine(self, lease: Lease | None) -> bool:
        return lease is not None and lease.worker == self.worker

    def _is_free(self, lease: Lease | None) -> bool:
        """Whether nobody else has it, its time is over, or nobody renewed it while this worker watched for that long.

        The last needs no clock but this process's own: one that was set back would keep a dead worker's lease for long.
        """
        if lease is None or lease.worker == self.worker or lease.expires_at <= now():
            return True
        state = lease.worker, lease.expires_at
        seen, since = self._watched.get(lease.job, (None, 0.0))
        if seen != state:
            self._watched[lease.job] = state, self._clock()
            return False
        return self._clock() - since >= LEASE.total_seconds()
