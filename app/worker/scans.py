"""The scan: of every project that is due, a few at a time, by one worker at a time."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import Session

from app import tracing
from app.database import Database
from app.metrics import DUE, SCANS
from app.models import JobRun, Project, Scan, now
from app.worker.git import Git, GitError
from app.worker.heartbeat import HEARTBEAT
from app.worker.job import Run
from app.worker.mirror import Found
from app.worker.process import Cancelled

SCAN = "scan"
PAUSE_SECONDS = 0.5
"""Pause after each scan that did work: many new projects at once must not take CPU time from users' requests."""
JITTER = 0.1
"""Fraction of the interval: projects that were added together are not scanned together forever."""
MOST_DOUBLINGS = 5
LONGEST_BACK_OFF = timedelta(days=1)
KEEP_RUNS = timedelta(days=14)
KEEP_SCANS = timedelta(days=365)
CACHE_BYTES = 2 << 30
"""Maximum size of all mirrors; the least recently used are deleted first, and fetched again when needed."""
log = logging.getLogger(__name__)


class Order(Enum):
    """Orders of the projects that are due. One scan runs in each order: a worker has little memory and CPU time.

    A user who has added a project is waiting for it, and must not wait until a thousand others have been scanned. The
    others must not wait for the new ones either, each of which takes longer. So every project is scanned eventually.
    """

    NEWEST = Project.scan_due_at.desc()
    OLDEST = Project.scan_due_at.asc()


@dataclass(frozen=True)
class Due:
    """A project that is due for a scan."""

    id: int
    url: str
    known: str | None
    """The last commit, if all results of a scan are known for it."""


@dataclass(frozen=True)
class Result:
    """A scan's result: ``found`` is what it found, None when there is nothing new, or the error."""

    due: Due
    began: datetime
    ended: datetime
    found: Found | GitError | None

    @property
    def outcome(self) -> str:
        """The outcome in one word."""
        if isinstance(self.found, GitError):
            return "failed"
        return "unchanged" if self.found is None else "ok"


@dataclass(frozen=True)
class Scanner:
    """Scans the projects that are due. A project is due again after the interval, or later after failures in a row."""

    git: Git
    interval: timedelta

    def scan_due(self, run: Run) -> None:
        """Scan until no project is due; record each project as soon as its scan has ended."""
        _count_due(run.database)
        in_flight: dict[Order, int] = {}
        running: dict[Future[Result | None], Order] = {}
        cut_short = False
        with ThreadPoolExecutor(len(Order), "scan") as pool:
            while True:
                for order in Order:
                    if order in in_flight or cut_short or not run.may_go_on():
                        continue
                    if due := _next(run.database, order, besides=in_flight.values()):
                        in_flight[order] = due.id
                        running[pool.submit(self._scan, run, due)] = order
                if not running:
                    return
                ended = wait(running, return_when=FIRST_COMPLETED).done
                self._record(run, ended)
                for future in ended:
                    del in_flight[running.pop(future)]
                    cut_short |= future.result() is None

    def clean(self, run: Run) -> str:
        """Delete old runs and scans, the mirrors of projects that are deleted or archived, and mirrors beyond the
        maximum size."""
        with run.write() as session:
            session.execute(delete(JobRun).where(JobRun.job != HEARTBEAT, JobRun.finished_at < now() - KEEP_RUNS))
            session.execute(delete(Scan).where(Scan.finished_at < now() - KEEP_SCANS))
        with run.database.read() as session:
            urls = set(session.scalars(select(Project.url).where(Project.archived.is_(False))))
        self.git.tidy(urls, CACHE_BYTES)
        return "ok"

    def _scan(self, run: Run, due: Due) -> Result | None:
        """Return a scan's result; None when it was cut short."""
        began = now()
        try:
            with tracing.span("scan", project=due.id):
                found: Found | GitError | None = self.git.scan(due.url, due.known)
        except Cancelled:
            log.info("project %s: the scan was cut short; the next worker restarts it", due.id)
            return None
        except GitError as error:
            found = error
        ended = now()
        if found is not None:
            run.stopping.wait(PAUSE_SECONDS)
        return Result(due, began, ended, found)

    def _record(self, run: Run, ended: Iterable[Future[Result | None]]) -> None:
        """Write the results, in one transaction. Raises LeaseLost."""
        results = [result for future in ended if (result := future.result()) is not None]
        if not results:
            return
        with run.write() as session:
            for result in results:
                self._write(run, session, result)
        for result in results:
            SCANS.labels(result.outcome).observe((result.ended - result.began).total_seconds())
            log.info("project %s: %s", result.due.id, result.found or result.outcome)

    def _write(self, run: Run, session: Session, result: Result) -> None:
        """Write one result, unless the project was deleted, or its address was changed meanwhile."""
        project = session.get(Project, result.due.id, with_for_update=True)
        if project is None or project.url != result.due.url:
            return
        error = str(result.found) if isinstance(result.found, GitError) else None
        news = project.scan_error != error
        project.scan_failures = project.scan_failures + 1 if error else 0
        project.scan_error, project.scanned_at = error, result.ended
        project.scan_due_at = result.ended + pause(self.interval, project.scan_failures)
        if isinstance(result.found, Found):
            news |= project.last_commit != result.found.last_commit or project.activity is None
            _apply(result.found, project)
        if news:
            session.add(_history(project, result))
        run.record(session, result.outcome, began=result.began, ended=result.ended, project_id=project.id)


def pause(interval: timedelta, failures: int) -> timedelta:
    """Return the time from a project's last scan until it is due again, given the number of failures in a row."""
    backed_off = interval * (1 << min(max(failures - 1, 0), MOST_DOUBLINGS))
    longest = max(interval, LONGEST_BACK_OFF)
    return min(backed_off, longest) * random.uniform(1, 1 + JITTER)  # noqa: S311 - guessing it gains nothing


def _next(database: Database, order: Order, besides: Collection[int]) -> Due | None:
    """Return the first project in that order that is due and is not being scanned."""
    chosen = select(Project.id, Project.url, Project.last_commit, Project.activity).where(_is_due())
    with database.read() as session:
        row = session.execute(chosen.where(Project.id.not_in(besides)).order_by(order.value).limit(1)).first()
    if row is None:
        return None
    # Without activity, the project was scanned by an older release, which did not read as much.
    return Due(row.id, row.url, row.last_commit if row.activity is not None else None)


def _count_due(database: Database) -> None:
    with database.read() as session:
        DUE.set(session.scalar(select(func.count()).select_from(Project).where(_is_due())) or 0)


def _is_due() -> ColumnElement[bool]:
    return and_(Project.scan_due_at <= now(), Project.archived.is_(False))


def _apply(found: Found, project: Project) -> None:
    content = found.content
    project.last_commit, project.last_commit_at = found.last_commit, found.last_commit_at
    project.commits, project.contributors, project.activity = found.commits, found.contributors, found.activity
    project.files, project.size_bytes, project.todos = content.files, content.size_bytes, content.todos
    project.languages, project.manifests = dict(content.languages), list(content.manifests)
    project.language = content.languages[0][0] if content.languages else None
    project.license = content.license


def _history(project: Project, result: Result) -> Scan:
    """Return the row with the new results; for a failed scan, it has only the error."""
    scan = Scan(project_id=project.id, started_at=result.began, finished_at=result.ended, error=project.scan_error)
    if project.scan_error is None:
        scan.last_commit, scan.commits, scan.contributors = project.last_commit, project.commits, project.contributors
        scan.files, scan.size_bytes, scan.todos = project.files, project.size_bytes, project.todos
    return scan
