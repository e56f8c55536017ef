"""Scans: what is due, by one worker at a time, and what is written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.database import Database
from app.models import JobRun, Lease, Project, now
from app.worker.git import Git
from app.worker.job import Job, Run
from app.worker.lease import LeaseLost, Leases
from app.worker.scans import KEEP_RUNS, SCAN, Scanner
from tests.unit.app.gitserver import GitServer, git_server


@dataclass(frozen=True)
class Scanning:
    """A scanner, and a run of its job by a worker that has the lease."""

    scanner: Scanner
    run: Run

    def scan(self) -> None:
        self.scanner.scan_due(self.run)


MakeScanner = Callable[[str], Scanning]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with git_server(tmp_path_factory.mktemp("repositories")) as server:
        server.create("one.git", "a@example.org")
        server.create("two.git", "a@example.org", "b@example.org")
        yield server


@pytest.fixture
def scanner_of(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeScanner:
    monkeypatch.setattr("app.worker.scans.PAUSE_SECONDS", 0)

    def make(worker: str) -> Scanning:
        leases = Leases(database, worker)
        leases.take(SCAN)
        scanner = Scanner(Git(tmp_path / "mirrors", deadline_seconds=20), timedelta(hours=1))
        job = Job(SCAN, timedelta(seconds=5), scanner.scan_due)
        return Scanning(scanner, Run(job, now(), now(), leases, "r1", threading.Event()))

    return make


def add(database: Database, *urls: str) -> None:
    with database.write() as session:
        session.add_all(Project(name=url, url=url) for url in urls)


def projects(database: Database) -> list[Project]:
    with database.read() as session:
        return list(session.scalars(select(Project).order_by(Project.id)))


def runs(database: Database) -> list[JobRun]:
    with database.read() as session:
        return list(session.scalars(select(JobRun).order_by(JobRun.started_at)))


def test_a_pass_scans_what_is_due_and_not_again_before_its_time(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("one.git"), server.url("two.git"))
    scanning = scanner_of("w1")

    scanning.scan()
    scanning.scan()

    assert [(p.commits, p.contributors, p.scan_error) for p in projects(database)] == [(1, 1, None), (2, 2, None)]
    assert [p.last_commit for p in projects(database)] == [server.tip("one.git"), server.tip("two.git")]
    assert [(run.job, run.worker, run.release, run.outcome) for run in runs(database)] == [(SCAN, "w1", "r1", "ok")] * 2
    assert all(p.scan_due_at - now() > timedelta(minutes=59) for p in projects(database))


def test_an_unreachable_repository_keeps_what_was_known_and_says_why(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("one.git"))
    scanning = scanner_of("w1")
    scanning.scan()
    with database.write() as session:
        session.execute(update(Project).values(url=server.url("gone.git"), scan_due_at=now()))

    scanning.scan()

    [project] = projects(database)
    assert project.commits == 1
    assert "repository not exported" in (project.scan_error or "")
    assert [run.outcome for run in runs(database)] == ["ok", "failed"]


def test_a_repository_that_fails_does_not_hold_up_the_others(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("missing.git"), server.url("one.git"))

    scanner_of("w1").scan()

    assert [(p.commits, p.scan_error is None) for p in projects(database)] == [(None, False), (1, True)]


def test_two_workers_never_scan_at_once(database: Database, server: GitServer, scanner_of: MakeScanner) -> None:
    for number in range(4):
        server.create(f"both-{number}.git", "a@example.org")
    add(database, *(server.url(f"both-{number}.git") for number in range(4)))

    with ThreadPoolExecutor() as pool:
        for scan in [pool.submit(scanner_of(name).scan) for name in ("w1", "w2")]:
            scan.result(20)

    done = runs(database)
    assert sorted(run.project_id or 0 for run in done) == [1, 2, 3, 4]
    assert len({run.worker for run in done}) == 1
    assert all(before.finished_at <= after.started_at for before, after in pairwise(done))


def test_a_result_is_dropped_when_another_worker_has_taken_over(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("one.git"))
    paused, other = scanner_of("w1"), Leases(database, "w2")
    with database.write() as session:
        session.execute(update(Lease).values(expires_at=now() - timedelta(seconds=1)))
    other.take(SCAN)

    with pytest.raises(LeaseLost):
        paused.scanner._scan(paused.run, 1, server.url("one.git"))

    assert projects(database)[0].scanned_at is None
    assert runs(database) == []


def test_a_project_that_is_deleted_while_it_is_scanned_leaves_no_trace(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    scanning = scanner_of("w1")

    scanning.scanner._scan(scanning.run, 7, server.url("one.git"))

    assert runs(database) == []


def test_a_scan_that_was_cut_short_is_due_still(database: Database, server: GitServer, scanner_of: MakeScanner) -> None:
    add(database, server.url("one.git"))
    scanning = scanner_of("w1")
    scanning.scanner.git.cancel()

    scanning.scan()

    [project] = projects(database)
    assert project.scan_due_at <= now()
    assert (project.scan_error, runs(database)) == (None, [])


def test_a_scanner_that_stops_begins_nothing(database: Database, server: GitServer, scanner_of: MakeScanner) -> None:
    add(database, server.url("one.git"))
    scanning = scanner_of("w1")
    scanning.run.stopping.set()

    scanning.scan()

    assert runs(database) == []


def test_cleaning_forgets_old_runs_and_the_mirrors_of_deleted_projects(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("one.git"), server.url("two.git"))
    scanning = scanner_of("w1")
    scanning.scan()
    with database.write() as session:
        session.execute(
            update(JobRun).where(JobRun.project_id == 1).values(finished_at=now() - KEEP_RUNS - timedelta(seconds=1))
        )
        session.delete(session.get_one(Project, 2))

    assert scanning.scanner.clean(scanning.run) == "ok"

    assert runs(database) == []
    assert list(scanning.scanner.git.mirrors.iterdir()) == [scanning.scanner.git.mirror(server.url("one.git"))]
