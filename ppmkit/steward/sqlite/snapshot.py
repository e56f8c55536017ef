"""Create and verify a consistent copy of a live database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw

from ..child import beside
from ..errors import Damaged, StewardError, reading
from ..files import need_room, published
from ..throttle import WAL_CAP, Pace
from .database import open_for_reading
from .digest import Table, digests
from .page_copy import pinned

_CHECKING_KIB = -16 << 10
"""SQLite's cache size for an integrity check, which looks up every row in every index: with the default of 2 MiB, it
takes twice as long."""


def snapshot(source: Path, target: Path, deadline: float) -> dict[str, Any]:
    """Copy the database while other processes write; return {bytes, seconds, rows: {table: count}}.

    Raises StewardError after ``deadline`` seconds, if the disk is full, or if the copy is damaged. Then no copy is
    left.
    """
    began = time.monotonic()
    with published(target) as partial, copied(source, partial, deadline) as prove:
        tables = prove()
    seconds = round(time.monotonic() - began, 3)
    return {"bytes": target.stat().st_size, "seconds": seconds, "rows": rows(tables)}


@contextmanager
def copied(
    source: Path, target: Path, deadline: float, *, wal_cap: int = WAL_CAP, rate: int | None = None
) -> Iterator[Callable[[], dict[str, Table]]]:
    """Copy the database while other processes write; yield a function that verifies the copy and returns its digests.

    A separate process verifies the copy, while this one reads the same transaction that was copied.
    """
    with reading(source), pinned(source) as live:
        if not live.others_write:
            raise StewardError(
                f"{source} is not in WAL mode, so its writers would fail while a backup reads it: switch it to WAL "
                "mode (PRAGMA journal_mode=WAL); `ppmctl doctor` shows the command"
            )
        need_room(target.parent, live.bytes)
        pace = Pace(source, deadline, wal_cap=wal_cap, rate=rate)
        live.copy(target, pace)
        with beside("verify", str(target)) as verified:

            def prove() -> dict[str, Table]:
                tables = digests(live.connection, pace.keep)
                live.connection.execute("COMMIT")
                compare(tables, verified()["tables"])
                return tables

            yield prove


def verify(copy: Path) -> dict[str, Table]:
    """Verify a copy that no process has open; return its digests. Raises StewardError, which names the damage."""
    sound(copy)
    with closing(open_for_reading(copy, immutable=True)) as connection:
        return digests(connection)


def sound(copy: Path) -> None:
    """Raise StewardError if a copy that no process has open is damaged or has broken references."""
    with closing(open_for_reading(copy, immutable=True)) as connection:
        try:
            connection.pragma("cache_size", _CHECKING_KIB)  # this opens the file
            report = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchall() if report == ["ok"] else []
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise Damaged(f"{copy.name} is damaged: {error}") from error
    if report != ["ok"]:
        raise Damaged(f"{copy.name} is damaged: {'; '.join(map(str, report))}")
    if broken:
        raise StewardError(f"{copy.name} has {len(broken)} broken references, first {broken[0]}")


def compare(expected: dict[str, Table], actual: dict[str, Table]) -> None:
    """Raise StewardError, which names the tables, if the digests differ."""
    if differ := sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)):
        raise StewardError(f"the copy differs from the database: {', '.join(differ)}")


def rows(tables: dict[str, Table]) -> dict[str, int]:
    """Given a database's digests, return {table: number of rows} without SQLite's own tables."""
    return {name: table["rows"] for name, table in tables.items() if not name.startswith("sqlite_")}
