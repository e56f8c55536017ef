"""The scan: every project whose time has come, one after another, by one worker at a time."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from app.models import JobRun, Project, now
from app.worker.git import Cancelled, Found, Git, GitError
from app.worker.heartbeat import Heartbeat

SCAN = "scan"
PASS_SECONDS = 5
"""How often the worker looks whether a scan is due."""
BATCH = 10
PAUSE_SECONDS = 0.5
"""Between two scans: many new projects at once must not take the processor from those who are served."""
KEEP_RUNS = timedelta(days=14)
log = logging.getLogger(__name__)


class Scanner:
    """Runs passes until it is told to stop; knows whether a scan is in flight."""

    def __init__(self, heartbeat: Heartbeat, git: Git, release: str, interval: timedelta) -> None:
        self.heartbeat, self.git, self.release, self.interval = heartbeat, git, release, interval
        self.database = heartbeat.database
        self.stopping = threading.Event()
        self.idle = threading.Event()
        self.idle.set()

    def run_pass(self) -> None:
        """Scan what is due, unless another worker holds the lease."""
        self.idle.clear()
        try:
            due = [] if self.stopping.is_set() else self._due()
            if not due or not self.heartbeat.take_lease(SCAN):
                return
            for id, url in due:
                if self.stopping.is_set() or not self.heartbeat.take_lease(SCAN):
                    return
                self._scan(id, url)
                self.stopping.wait(PAUSE_SECONDS)
        finally:
            self.idle.set()

    def clean(self) -> None:
        """Forget old runs, and the mirrors of projects that are gone."""
        with self.database.write() as session:
            session.execute(delete(JobRun).where(JobRun.job == SCAN, JobRun.finished_at < now() - KEEP_RUNS))
        with self.database.read() as session:
            urls = set(session.scalars(select(Project.url)))
        self.git.forget(urls)

    def _due(self) -> list[tuple[int, str]]:
        chosen = select(Project.id, Project.url).where(Project.scan_due_at <= now())
        with self.database.read() as session:
            rows = session.execute(chosen.order_by(Project.scan_due_at).limit(BATCH)).all()
        return [(row.id, row.url) for row in rows]

    def _scan(self, id: int, url: str) -> None:
        began = now()
        try:
            found: Found | GitError = self.git.scan(url)
        except Cancelled:
            log.info("project %s: the scan was cut short; the next worker begins it anew", id)
            return
        except GitError as error:
            found = error
        log.info("project %s: %s", id, found)
        self._record(id, began, found)

    def _record(self, id: int, began: datetime, found: Found | GitError) -> None:
        """Write the result, unless the project is gone or another worker has taken over."""
        values: dict[str, object] = {"scanned_at": now(), "scan_due_at": now() + self.interval}
        if isinstance(found, GitError):
            values["scan_error"] = str(found)
        else:
            values |= {
                "scan_error": None,
                "last_commit": found.last_commit,
                "last_commit_at": found.last_commit_at,
                "commits": found.commits,
                "contributors": found.contributors,
            }
        with self.database.write() as session:
            if not self.heartbeat.holds_lease(session, SCAN):
                log.warning("project %s: another worker has taken over; the result is dropped", id)
                return
            known = session.scalar(update(Project).where(Project.id == id).values(**values).returning(Project.id))
            if known is None:
                return
            outcome = "failed" if isinstance(found, GitError) else "ok"
            session.add(
                JobRun(
                    job=SCAN,
                    worker=self.heartbeat.worker,
                    release=self.release,
                    project_id=id,
                    started_at=began,
                    finished_at=now(),
                    outcome=outcome,
                )
            )
