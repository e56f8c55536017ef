"""Two workers on one database, as processes: who does a job, and what signals change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.database import Database
from app.models import JobRun, Lease, Project, now
from app.worker.heartbeat import HEARTBEAT
from tests.support.processes import end
from tests.unit.app.conftest import until
from tests.unit.app.gitserver import git_server

EVERY = 1.0
HAND_OVERS = 3
_TICK = """
import sys, time
from datetime import timedelta
from pathlib import Path
from app.database import Database
from app.settings import Settings
from app.worker.job import Job
from app.worker.jobs import jobs
from app.worker.run import run

def tick(run):
    held = Path(sys.argv[1])
    if held.exists():
        held.with_suffix(".began").touch()
        while held.exists():
            time.sleep(0.01)
    return str(run.slot.timestamp())

settings = Settings()
database = Database(settings.database_url)
run(settings, database, [*jobs(settings, database), Job("tick", timedelta(seconds=float(sys.argv[2])), tick)])
"""


@dataclass
class Worker:
    """A process that does the worker's jobs and one more, which ticks."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str

    def says(self, words: str) -> None:
        until(lambda: words in self.log.read_text(), 20)

    def send(self, sort: signal.Signals) -> None:
        self.process.send_signal(sort)

    def pause(self, database: Database) -> None:
        """Stop all its threads, none of them in the middle of a transaction that writes: others would wait for it."""
        with database.write():
            self.send(signal.SIGSTOP)
            until(lambda: all(") T " in file.read_text() for file in self._threads()))

    def _threads(self) -> Iterator[Path]:
        return Path(f"/proc/{self.process.pid}/task").glob("*/stat")

    def end(self) -> None:
        """Wait for its end after SIGTERM."""
        assert self.process.wait(20) == 0, self.log.read_text()


Start = Callable[..., Worker]


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """As long as this file is there, a tick does not end."""
    return tmp_path / "held"


@pytest.fixture
def start(database: Database, tmp_path: Path, held: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []
    with ExitStack() as files:

        def begin(every: float = EVERY, drain_seconds: int = 30) -> Worker:
            """Start a worker; return it when it lives."""
            known = set(beats(database))
            release = f"r{len(started)}"
            log = tmp_path / f"{release}.log"
            environment = {"PATH": os.environ["PATH"], "APP_ENV": "test", "DATABASE_URL": str(database.url)}
            environment |= {"PPM_RELEASE": release, "DRAIN_SECONDS": str(drain_seconds), "SCAN_PRIVATE_ADDRESSES": "1"}
            argv = [sys.executable, "-c", _TICK, str(held), str(every)]
            process = subprocess.Popen(argv, env=environment, stderr=files.enter_context(log.open("w")))
            started.append(process)
            until(lambda: set(beats(database)) - known, 20)
            return Worker(process, log, (set(beats(database)) - known).pop())

        yield begin
        for process in started:
            end(process)


def rows(database: Database, job: str) -> list[JobRun]:
    with database.read() as session:
        return list(session.scalars(select(JobRun).where(JobRun.job == job).order_by(JobRun.id)))


def beats(database: Database) -> list[str]:
    return [row.worker for row in rows(database, HEARTBEAT)]


def holders(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {lease.job: lease.worker for lease in session.scalars(select(Lease))}


def slots(database: Database) -> list[float]:
    return [float(row.outcome) for row in rows(database, "tick")]


def ticks_of(database: Database, worker: Worker) -> list[JobRun]:
    return [row for row in rows(database, "tick") if row.worker == worker.name]


def test_hand_overs_repeat_no_run_and_skip_none_for_longer_than_one_interval(database: Database, start: Start) -> None:
    worker = start()
    until(lambda: slots(database))
    for _ in range(HAND_OVERS):
        following = start()
        assert not ticks_of(database, following)
        worker.send(signal.SIGTERM)
        worker.end()
        worker = following
        until(lambda worker=worker: ticks_of(database, worker), 5)

    found = slots(database)
    assert len(found) == len(set(found))
    assert max(after - before for before, after in pairwise(found)) <= 2 * EVERY
    assert len({row.release for row in rows(database, "tick")}) == HAND_OVERS + 1


def test_what_is_idle_is_handed_over_at_once_and_what_is_in_flight_when_it_has_ended(
    database: Database, start: Start, held: Path
) -> None:
    old = start()
    until(lambda: slots(database))
    held.touch()
    until(held.with_suffix(".began").exists)
    new = start()
    assert set(holders(database).values()) == {old.name}

    old.send(signal.SIGTERM)
    until(lambda: holders(database) == {"scan": new.name, "clean": new.name, "tick": old.name}, 5)
    before = len(slots(database))
    held.unlink()
    old.end()
    until(lambda: ticks_of(database, new), 5)

    assert rows(database, "tick")[before].worker == old.name
    assert set(holders(database).values()) == {new.name}
    assert beats(database) == [new.name]


def test_a_worker_that_was_paused_while_another_took_over_writes_nothing(
    database: Database, start: Start, held: Path
) -> None:
    paused = start()
    until(lambda: ticks_of(database, paused))
    held.touch()
    until(held.with_suffix(".began").exists)
    paused.pause(database)
    held.unlink()
    before = len(ticks_of(database, paused))
    with database.write() as session:  # what the time would do
        session.execute(update(Lease).values(expires_at=now() - timedelta(seconds=1)))
    other = start()
    until(lambda: len(ticks_of(database, other)) > 2, 5)

    paused.send(signal.SIGCONT)
    paused.says("tick: another worker has taken over; the result is dropped")
    count = len(ticks_of(database, other))
    until(lambda: len(ticks_of(database, other)) > count + 2, 5)

    assert len(ticks_of(database, paused)) == before
    assert len(slots(database)) == len(set(slots(database)))
    assert holders(database)["tick"] == other.name


def test_a_killed_worker_is_followed_when_its_leases_have_run_out(database: Database, start: Start) -> None:
    killed = start()
    until(lambda: slots(database))
    following = start()
    killed.send(signal.SIGKILL)
    killed.process.wait(10)
    assert holders(database)["tick"] == killed.name

    with database.write() as session:
        session.execute(update(Lease).values(expires_at=now()))

    until(lambda: ticks_of(database, following), 5)


def project(database: Database) -> Project:
    with database.read() as session:
        return session.scalars(select(Project)).one()


def add(database: Database, url: str) -> datetime:
    with database.write() as session:
        session.add(added := Project(name="tool", url=url))
    return added.scan_due_at


def test_a_scan_in_flight_is_finished_by_the_worker_that_began_it(
    database: Database, start: Start, tmp_path: Path
) -> None:
    with git_server(tmp_path) as server:
        url = server.create("tool.git", "a@example.org")
        server.pause()
        old = start()
        add(database, url)
        until(lambda: scans(url), 20)
        new = start()

        old.send(signal.SIGTERM)
        until(lambda: holders(database) == {"scan": old.name, "clean": new.name, "tick": new.name}, 5)
        server.resume()
        old.end()

        assert project(database).commits == 1
        assert [row.worker for row in rows(database, "scan")] == [old.name]
        until(lambda: holders(database).get("scan") == new.name, 5)


def test_a_scan_that_was_cut_short_is_made_by_the_next_worker(database: Database, start: Start, tmp_path: Path) -> None:
    with git_server(tmp_path) as server:
        url = server.create("tool.git", "a@example.org")
        server.pause()
        old = start(drain_seconds=6)
        due = add(database, url)
        until(lambda: scans(url), 20)
        new = start()

        old.send(signal.SIGTERM)
        old.end()
        assert project(database).scan_due_at == due
        server.resume()

        until(lambda: project(database).commits == 1, 20)
        assert [row.worker for row in rows(database, "scan")] == [new.name]


def scans(url: str) -> bool:
    """Return whether a git runs that has the address among its arguments."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if url.encode() in process.read_bytes().split(b"\0"):
                return True
        except OSError:  # it ended meanwhile
            continue
    return False
