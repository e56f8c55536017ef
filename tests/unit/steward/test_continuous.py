"""Every change of a database that two processes write to, shipped by the real Litestream, and brought back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from ppmkit.backup.point_in_time import RecoveryWindow, parse, refuse_unless_recoverable
from ppmkit.errors import UsageError
from ppmkit.release import render
from ppmkit.steward import continuous
from ppmkit.steward.backup import sweep
from ppmkit.steward.catalog import CONTINUOUS
from ppmkit.steward.errors import StewardError
from ppmkit.steward.settings import Continuous, Settings
from ppmkit.steward.shipping import Shipping
from ppmkit.steward.sqlite.swap import restore
from tests.support.database import execute, make, writer
from tests.support.waiting import eventually
from tests.unit.conftest import environment_of


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return make(tmp_path / "ppm.db", rows=50)


@contextmanager
def shipping(database: Path) -> Iterator[list[str]]:
    """Ship for as long as the block lasts; yield what has failed."""
    wanted = Continuous(keep=timedelta(hours=1), interval=timedelta(milliseconds=100))
    failures: list[str] = []
    told = Settings(database=database, backups=database.parent / "backups", continuous=wanted)
    ships = Shipping(told, wanted, failures.append)
    ships.start()
    try:
        yield failures
    finally:
        ships.end()


def spans(database: Path) -> list[tuple[datetime, datetime]]:
    found = continuous.spans(database.parent / "backups")
    return [(datetime.fromisoformat(each["first"]), datetime.fromisoformat(each["last"])) for each in found]


def note(database: Path, name: str) -> datetime:
    """Commit a name; return a moment at which it is there, and which was shipped."""
    commit(database, "INSERT INTO names VALUES (?)", name)
    known = datetime.now(UTC)

    def shipped() -> bool:
        commit(database, "INSERT INTO twins VALUES (?)", 0)  # a database that serves is never still
        return bool(found := spans(database)) and found[-1][1] > known

    for _ in range(2):  # the first one may have been begun before
        assert eventually(shipped)
        known = spans(database)[-1][1]
    return known


def commit(database: Path, sql: str, *values: object) -> None:
    with closing(apsw.Connection(str(database))) as connection:
        connection.set_busy_timeout(10_000)
        connection.execute(sql, values)


def brought_back(database: Path, moment: datetime) -> dict[str, Any]:
    target = database.parent / "restore" / "copy.db"
    found = continuous.recover(database.parent / "backups", moment, target)
    names = {row[0] for row in execute(target, "SELECT name FROM names")}
    return {**found, "names": names, "pairs": execute(target, "SELECT count(*), max(number) FROM pairs")}


def test_a_moment_comes_back_as_it_was_while_two_processes_write(database: Path) -> None:
    with writer(database), writer(database), shipping(database) as failures:
        first = note(database, "first")
        second = note(database, "second")
        note(database, "third")
        found = [brought_back(database, moment) for moment in (first, second)]

    assert failures == []
    assert [each["names"] for each in found] == [{"a", "first"}, {"a", "first", "second"}]
    assert [each["level"] for each in found] == ["L2", "L2"]
    assert [datetime.fromisoformat(each["created"]) for each in found] == [first, second]


def test_what_was_committed_after_the_moment_is_not_there_and_nothing_is_missing_in_between(database: Path) -> None:
    execute(database, "CREATE TABLE ticks (number INTEGER PRIMARY KEY, at REAL)")
    looked = "SELECT count(*), coalesce(max(number) + 1, 0), coalesce(max(at), 0) FROM ticks"
    with shipping(database):
        begin, number = note(database, "begin"), 0
        while datetime.now(UTC) < begin + timedelta(seconds=1):
            commit(database, "INSERT INTO ticks VALUES (?, ?)", number, datetime.now(UTC).timestamp())
            number += 1
        end = note(database, "end")
        for share in (0.3, 0.6, 0.9):
            moment = begin + share * (end - begin)
            brought_back(database, moment)
            [(count, wanted, last)] = execute(database.parent / "restore" / "copy.db", looked)
            assert count == wanted
            assert float(str(last)) <= moment.timestamp()


def test_every_start_is_a_generation_and_what_nobody_shipped_is_refused(database: Path) -> None:
    with shipping(database):
        before = note(database, "before")
    restore(make(database.with_name("other.db"), rows=7), database)
    between = datetime.now(UTC)
    with shipping(database):
        after = note(database, "after")
        assert len(spans(database)) == 2
        assert brought_back(database, before)["names"] == {"a", "before"}
        assert brought_back(database, after)["names"] == {"a", "after"}
        for moment in (before - timedelta(minutes=1), between, after + timedelta(minutes=1)):
            with pytest.raises(StewardError, match="was not shipped"):
                continuous.recover(database.parent / "backups", moment, database.with_name("none.db"))
    assert not list(database.parent.glob("none.db*"))


def test_damage_to_what_was_shipped_is_found_before_there_is_a_copy(database: Path) -> None:
    with shipping(database):
        moment = note(database, "kept")
    for file in (database.parent / "backups").rglob("*.ltx"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    with pytest.raises(StewardError, match="the shipped changes cannot be restored"):
        brought_back(database, moment)
    assert not list((database.parent / "restore").glob("copy.db*"))


def test_what_is_too_old_goes_and_a_backup_leaves_the_rest_alone(database: Path) -> None:
    backups = database.parent / "backups"
    with shipping(database):
        moment = note(database, "kept")
    (backups / CONTINUOUS / "20200101T000000000000").mkdir()

    assert sweep(backups) == 0
    assert continuous.prune(backups, timedelta(hours=1), moment) == 1
    assert len(spans(database)) == 1
    assert continuous.prune(backups, timedelta(hours=1), moment + timedelta(hours=2)) == 1
    assert spans(database) == []


def test_a_database_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with shipping(tmp_path / "none.db") as failures:
        assert eventually(lambda: failures)
    assert "there is no" in failures[0]


def test_litestream_brings_an_sqlite_that_two_processes_may_write_with() -> None:
    """Before 3.51.3 a checkpoint beside a writer can corrupt the database (https://sqlite.org/wal.html#walresetbug)."""
    found = re.search(rb"\x003\.(\d+)\.(\d+)\x00", Path(continuous.litestream()).read_bytes())

    assert found
    assert (int(found[1]), int(found[2])) >= (51, 3)


def test_a_moment_is_read_as_people_write_it() -> None:
    wanted = datetime(2026, 3, 1, 14, 5, 9, tzinfo=UTC)
    for text in ("2026-03-01 14:05:09", "2026-03-01T14:05:09Z", "2026-03-01 16:05:09+02:00", "2026-03-01 14:05:09 UTC"):
        assert parse(text) == wanted
    with pytest.raises(UsageError, match="not a time"):
        parse("yesterday")


def test_a_moment_that_was_not_shipped_is_refused_with_what_there_is() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    window = RecoveryWindow(host="one", first=noon, last=noon + timedelta(hours=1))

    refuse_unless_recoverable([window], noon)
    with pytest.raises(UsageError, match=r"from 2026-03-01 12:00:00.000 UTC to 2026-03-01 13:00:00.000 UTC"):
        refuse_unless_recoverable([window], noon - timedelta(seconds=1))
    with pytest.raises(UsageError, match="no change was shipped"):
        refuse_unless_recoverable([], noon)


def test_litestream_gets_room_of_its_own_and_no_more_rights() -> None:
    plain, shipped = environment_of(), environment_of(backup={"continuous": {"keep": "2d"}})

    assert json.loads(render.steward(plain))["continuous"] is None
    assert json.loads(render.steward(shipped))["continuous"] == {"keep": 172800, "interval": 1}
    assert (plain.backup.memory, shipped.backup.memory) == (0, 256 << 20)
    assert shipped.backup.secrets == ()  # so it has no network
