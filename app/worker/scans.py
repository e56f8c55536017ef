"""The scan: every project whose time has come, one after another, by one worker at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from app.database import Database
from app.models import JobRun, Project, now
from app.worker.git import Cancelled, Found, Git, GitError
from app.worker.heartbeat import HEARTBEAT
from app.worker.job import Run

SCAN = "scan"
BATCH = 10
PAUSE_SECONDS = 0.5
"""Between two scans: many new projects at once must not take the processor from those who are served."""
KEEP_RUNS = timedelta(days=14)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scanner:
    """Scans what is due; a project is due again after the interval."""

    git: Git
    interval: timedelta

    def scan_due(self, run: Run) -> None:
        """Scan what is due; each project is recorded by itself."""
        for id, url in _due(run.database):
            if not run.may_go_on():
                return
            self._scan(run, id, url)
            run.stopping.wait(PAUSE_SECONDS)

    def clean(self, run: Run) -> str:
        """Forget old runs of all jobs, and the mirrors of projects that are gone."""
        with run.write() as session:
            session.execute(delete(JobRun).where(JobRun.job != HEARTBEAT, JobRun.finished_at < now() - KEEP_RUNS))
        with run.database.read() as session:
            urls = set(session.scalars(select(Project.url)))
        self.git.forget(urls)
        return "ok"

    def _scan(self, run: Run, id: int, url: str) -> None:
        began = now()
        try:
            found: Found | GitError = self.git.scan(url)
        except Cancelled:
            log.info("project %s: the scan was cut short; the next worker begins it anew", id)
            return
        except GitError as error:
            found = error
        log.info("project %s: %s", id, found)
        self._record(run, id, began, found)

    def _record(self, run: Run, id: int, began: datetime, found: Found | GitError) -> None:
        """Write the result, unless the project is gone. Raises LeaseLost."""
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
        with run.write() as session:
            known = session.scalar(update(Project).where(Project.id == id).values(**values).returning(Project.id))
            if known is not None:
                outcome = "failed" if isinstance(found, GitError) else "ok"
                run.record(session, outcome, began=began, project_id=id)


def _due(database: Database) -> list[tuple[int, str]]:
    chosen = select(Project.id, Project.url).where(Project.scan_due_at <= now())
    with database.read() as session:
        rows = session.execute(chosen.order_by(Project.scan_due_at).limit(BATCH)).all()
    return [(row.id, row.url) for row in rows]
