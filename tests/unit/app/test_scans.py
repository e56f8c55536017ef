"""Scans: what is due, by one worker at a time, and what is written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import undefer

from app.database import Database
from app.models import JobRun, Lease, Project, Scan, now
from app.worker.git import Git
from app.worker.job import Job, Run
from app.worker.lease import LeaseLost, Leases
from app.worker.scans import KEEP_RUNS, SCAN, Due, Result, Scanner
from tests.support.processes import threads
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
        scanner = Scanner(Git(tmp_path / "mirrors", 20, 8 << 20, private=True), timedelta(hours=1))
        job = Job(SCAN, timedelta(seconds=5), scanner.scan_due)
        return Scanning(scanner, Run(job, now(), now(), leases, "r1", threading.Event()))

    return make


def add(database: Database, *urls: str) -> None:
    with database.write() as session:
        session.add_all(Project(name=url, url=url) for url in urls)


def scanned(scanning: Scanning, due: Due) -> Future[Result | None]:
    """Return a scan that has ended, though the worker may not go on."""
    ended: Future[Result | None] = Future()
    ended.set_result(Result(due, now(), now(), scanning.scanner.git.scan(due.url)))
    return ended


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


def test_what_became_due_last_does_not_wait_for_all_that_are_due_for_longer(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, *(server.url(f"none-{number}.git") for number in range(9)))
    add(database, server.url("one.git"))

    scanner_of("w1").scan()

    order = [run.project_id for run in runs(database)]
    assert 10 in order[:2]
    assert sorted(id for id in order if id) == list(range(1, 11))


def test_what_is_due_for_longest_does_not_wait_for_new_ones_which_take_longer(
    database: Database, server: GitServer, scanner_of: MakeScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        server.create(f"old-{number}.git", "a@example.org")
    add(database, *(server.url(f"old-{number}.git") for number in range(6)))
    scanning = scanner_of("w1")
    scanning.scan()
    with database.write() as session:
        session.execute(update(Project).values(scan_due_at=now() - timedelta(days=1)))
    add(database, server.url("new.git"), server.url("newer.git"))
    monkeypatch.setattr("app.worker.scans.PAUSE_SECONDS", 2)

    scanning.scan()

    recorded = sorted(runs(database), key=lambda run: run.id)
    assert [run.outcome for run in recorded][6:] == ["unchanged"] * 6 + ["failed"] * 2


def test_two_workers_never_scan_at_once(database: Database, server: GitServer, scanner_of: MakeScanner) -> None:
    for number in range(4):
        server.create(f"both-{number}.git", "a@example.org")
    add(database, *(server.url(f"both-{number}.git") for number in range(4)))

    with threads() as pool:
        for scan in [pool.submit(scanner_of(name).scan) for name in ("w1", "w2")]:
            scan.result(20)

    done = runs(database)
    assert sorted(run.project_id or 0 for run in done) == [1, 2, 3, 4]
    assert len({run.worker for run in done}) == 1


def test_a_result_is_dropped_when_another_worker_has_taken_over(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("one.git"))
    paused, other = scanner_of("w1"), Leases(database, "w2")
    with database.write() as session:
        session.execute(update(Lease).values(expires_at=now() - timedelta(seconds=1)))
    other.take(SCAN)

    with pytest.raises(LeaseLost):
        paused.scanner._record(paused.run, [scanned(paused, Due(1, server.url("one.git"), None))])

    assert projects(database)[0].scanned_at is None
    assert runs(database) == []


def test_a_project_that_is_deleted_while_it_is_scanned_leaves_no_trace(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    scanning = scanner_of("w1")

    scanning.scanner._record(scanning.run, [scanned(scanning, Due(7, server.url("one.git"), None))])

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


def due_now(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Project).values(scan_due_at=now()))


def history(database: Database) -> list[tuple[int | None, str | None]]:
    with database.read() as session:
        return [(scan.commits, scan.error) for scan in session.scalars(select(Scan).order_by(Scan.id))]


def test_what_the_files_tell_is_written_down(database: Database, server: GitServer, scanner_of: MakeScanner) -> None:
    files = {"main.py": b"# TODO\n" * 3, "a/b.js": b"1", "LICENSE": b"Apache License\nVersion 2.0", "setup.py": b""}
    add(database, server.write("files.git", files))

    scanner_of("w1").scan()

    with database.read() as session:
        project = session.scalars(select(Project).options(undefer("*"))).one()
    assert (project.files, project.size_bytes, project.todos) == (4, 22, 3)
    assert (project.language, project.license) == ("Python", "Apache-2.0")
    assert (project.languages, project.manifests) == ({"Python": 21, "JavaScript": 1}, ["setup.py"])


def test_the_history_has_a_scan_that_finds_something_else_and_the_runs_have_each(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.create("history.git", "a@example.org"))
    scanning = scanner_of("w1")
    scanning.scan()
    due_now(database)
    scanning.scan()
    server.commit("history.git", "a@example.org")
    due_now(database)
    scanning.scan()

    assert history(database) == [(1, None), (2, None)]
    assert [run.outcome for run in runs(database)] == ["ok", "unchanged", "ok"]


def test_the_history_says_when_a_repository_failed_and_when_it_was_back(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.create("back.git", "a@example.org"))
    scanning = scanner_of("w1")
    scanning.scan()
    away = server.folder / "back.git"
    away.rename(server.folder / "away.git")
    for _ in range(2):
        due_now(database)
        scanning.scan()
    (server.folder / "away.git").rename(away)
    due_now(database)
    scanning.scan()

    found = history(database)
    assert [commits for commits, _ in found] == [1, None, 1]
    assert "repository not exported" in (found[1][1] or "")
    assert projects(database)[0].scan_failures == 0


def test_an_archived_project_is_left_alone(database: Database, server: GitServer, scanner_of: MakeScanner) -> None:
    add(database, server.url("one.git"))
    with database.write() as session:
        session.execute(update(Project).values(archived=True))

    scanner_of("w1").scan()

    assert runs(database) == []


def test_a_project_that_an_older_release_has_scanned_is_looked_at_anew(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("one.git"))
    with database.write() as session:
        session.execute(update(Project).values(last_commit=server.tip("one.git"), scanned_at=now()))

    scanner_of("w1").scan()

    assert projects(database)[0].files == 0


def test_what_was_found_at_another_address_is_dropped(
    database: Database, server: GitServer, scanner_of: MakeScanner
) -> None:
    add(database, server.url("two.git"))
    scanning = scanner_of("w1")

    scanning.scanner._record(scanning.run, [scanned(scanning, Due(1, server.url("one.git"), None))])

    assert projects(database)[0].scanned_at is None
