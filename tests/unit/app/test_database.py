"""SQLite in WAL mode: readers never wait, writers take turns."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from app.database import Database
from app.errors import PpmError
from app.models import Project
from tests.support.processes import threads

MANY = 50
_WRITE_MANY = """
import sys
from app.database import Database
from app.models import Project
database = Database(sys.argv[1])
for number in range(int(sys.argv[3])):
    with database.write() as session:
        session.add(Project(name=f"{sys.argv[2]}-{number}", url=f"https://example.org/{sys.argv[2]}/{number}"))
database.close()
"""


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Project)) or 0


def pragma(database: Database, name: str) -> object:
    with database.read() as session:
        return session.scalar(text(f"PRAGMA {name}"))


def test_the_library_has_no_corruption_bug(database: Database) -> None:
    with database.read() as session:
        version = session.scalar(text("SELECT sqlite_version()"))

    assert tuple(map(int, version.split("."))) >= (3, 51, 3)


@pytest.mark.parametrize(("name", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 10_000)])
def test_every_connection_is_set_up(database: Database, name: str, value: object) -> None:
    assert pragma(database, name) == value


def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(Project(name="lost", url="https://example.org/lost"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert count(database) == 0


def test_a_reader_sees_one_state_while_another_writes(database: Database) -> None:
    with database.read() as reading:
        before = reading.scalar(select(func.count()).select_from(Project))
        with database.write() as session:
            session.add(Project(name="new", url="https://example.org/new"))
        assert reading.scalar(select(func.count()).select_from(Project)) == before

    assert count(database) == 1


def test_a_reader_cannot_write_by_accident(database: Database) -> None:
    with database.read() as session:
        session.add(Project(name="lost", url="https://example.org/lost"))
        session.flush()

    assert count(database) == 0


def test_processes_and_threads_that_write_at_once_lose_nothing(database: Database) -> None:
    argv = [sys.executable, "-c", _WRITE_MANY, str(database.url)]
    processes = [subprocess.Popen([*argv, name, str(MANY)]) for name in ("first", "second")]

    def write(thread: int) -> None:
        for number in range(MANY):
            with database.write() as session:
                session.add(Project(name=f"t{thread}-{number}", url=f"https://example.org/t{thread}/{number}"))

    with threads() as pool:
        list(pool.map(write, range(4)))

    assert [process.wait(20) for process in processes] == [0, 0]
    assert count(database) == 6 * MANY


def test_a_writer_waits_for_another_process_and_begins_as_soon_as_that_ends(database: Database) -> None:
    other = Database(str(database.url))
    waited: list[float] = []
    other.waited = waited.append

    def write() -> float:
        with other.write():
            return time.monotonic()

    with closing(other), threads() as pool:
        with database.write():
            waiting = pool.submit(write)
            time.sleep(0.35)  # SQLite by itself would look after 328 and 428 ms
        ended = time.monotonic()
        began = waiting.result(60)

    assert waited[0] > 0.3
    assert began - ended < 0.04


@pytest.mark.sqlite
def test_a_writer_gives_up_when_another_does_not_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.database.BUSY_TIMEOUT", 0.2)
    other = Database(str(database.url))

    with (
        closing(other),
        database.write(),
        pytest.raises(OperationalError, match="database is locked"),
        other.write(),
    ):
        pass

    assert pragma(other, "busy_timeout") == 200


def test_closing_folds_the_log_into_the_file(database: Database) -> None:
    database.close()

    assert database.file is not None
    assert {path.name for path in database.file.parent.iterdir()} == {"ppm.db", "ppm.db.migrating"}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(PpmError, match="SQLite needs a file"):
        Database(url)


@pytest.mark.parametrize(
    ("url", "words"), [("nonsense", "not a URL"), ("mysql://localhost/ppm", "SQLite or Postgres, not mysql")]
)
def test_another_database_is_refused(url: str, words: str) -> None:
    with pytest.raises(PpmError, match=words):
        Database(url)


def test_a_database_whose_driver_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(PpmError, match="Postgres needs the Python package psycopg, which is missing"):
        Database("postgresql://localhost/ppm")
