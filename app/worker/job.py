"""A job: work that runs once per interval, in one worker, however many there are; and how a worker runs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import Database
from app.metrics import JOBS
from app.models import JobRun, now
from app.worker.lease import LeaseLost, Leases

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_POLL = timedelta(seconds=1)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job, as app/worker/jobs.py lists it."""

    name: str
    every: timedelta
    work: Callable[[Run], str | None]
    """Returns the outcome to record in job_runs, or None when there is nothing (more) to record."""
    cut_short: Callable[[], None] | None = None
    """Ends a run that would outlast the drain time. Without it, such a run is killed with its worker."""

    @property
    def poll(self) -> timedelta:
        """How often a worker checks whether a run is due and whether it may run it: a takeover delays a job by at most
        this."""
        return min(self.every / 4, MAX_POLL)

    def slot(self, time: datetime) -> datetime:
        """Given a time, return the start of its interval, which is the same for every worker."""
        return EPOCH + (time - EPOCH) // self.every * self.every


@dataclass(frozen=True)
class Run:
    """One run of a job, with what its function needs."""

    job: Job
    slot: datetime
    """The start of the interval that the run is for."""
    began: datetime
    leases: Leases
    release: str
    stopping: threading.Event
    """Set when the worker is to stop: finish what is in flight, and start nothing more."""

    @property
    def database(self) -> Database:
        """For reading. To write, use :meth:`write`."""
        return self.leases.database

    def may_go_on(self) -> bool:
        """Return whether to start the next piece of work: the worker is not stopping, and no other has taken over."""
        return not self.stopping.is_set() and self.leases.holds(self.job.name)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session; commit at the end. Raises LeaseLost when another worker has taken the job over."""
        with self.database.write() as session:
            self.leases.check(session, self.job.name)
            yield session

    def record(
        self,
        session: Session,
        outcome: str,
        *,
        began: datetime | None = None,
        ended: datetime | None = None,
        project_id: int | None = None,
    ) -> None:
        """Add a row to job_runs: for the whole run, or for its part about one project."""
        session.add(
            JobRun(
                job=self.job.name,
                worker=self.leases.worker,
                release=self.release,
                project_id=project_id,
                started_at=began or self.began,
                finished_at=ended or now(),
                outcome=outcome,
            )
        )


class Runner:
    """Runs one job for one worker: once per interval, while the worker has the lease."""

    def __init__(self, job: Job, leases: Leases, release: str) -> None:
        self.job, self.leases, self.release = job, leases, release
        self.stopping, self.idle = threading.Event(), threading.Event()
        self.idle.set()
        self._stop_lock = threading.Lock()
        self._last: datetime | None = None
        """The last interval that is done; None when unknown, because another worker ran the job before."""

    def tick(self) -> None:
        """Run the job, if it is due and this worker may run it. Called by one thread at a time."""
        with self._stop_lock:
            if self.stopping.is_set():
                return
            self.idle.clear()
        try:
            if run := self._due():
                self._do(run)
        finally:
            with self._stop_lock:
                self.idle.set()
                if self.stopping.is_set():
                    self.leases.give_back(self.job.name)

    def stop(self) -> None:
        """Start nothing more, and give the lease back: at once, or as soon as the run in flight has ended."""
        with self._stop_lock:
            self.stopping.set()
            if self.idle.is_set():
                self.leases.give_back(self.job.name)

    def _due(self) -> Run | None:
        """Return the run of this interval, unless it is done or another worker has the lease."""
        time = now()
        slot = self.job.slot(time)
        if slot == self._last:
            return None
        if not self.leases.holds(self.job.name):
            self._last = None
            if not self.leases.take(self.job.name):
                return None
            log.info("%s: this worker has taken over", self.job.name)
        done = self._last is None and self._is_recorded(slot)
        self._last = slot
        return None if done else Run(self.job, slot, time, self.leases, self.release, self.stopping)

    def _is_recorded(self, slot: datetime) -> bool:
        """Return whether another worker has already run the job in this interval."""
        chosen = select(JobRun.id).where(JobRun.job == self.job.name, JobRun.project_id.is_(None))
        within = JobRun.finished_at >= slot, JobRun.started_at >= slot, JobRun.started_at < slot + self.job.every
        with self.leases.database.read() as session:
            return session.scalar(chosen.where(*within).limit(1)) is not None

    def _do(self, run: Run) -> None:
        try:
            outcome = self._outcome(run)
            JOBS.labels(self.job.name, outcome or "ok").observe((now() - run.began).total_seconds())
            if outcome:
                with run.write() as session:
                    run.record(session, outcome)
        except LeaseLost:
            log.warning("%s: another worker has taken over; the result is dropped", self.job.name)

    def _outcome(self, run: Run) -> str | None:
        try:
            return self.job.work(run)
        except LeaseLost:
            raise
        except Exception:
            log.exception("%s failed", self.job.name)
            return "failed"
