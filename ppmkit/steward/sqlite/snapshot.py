"""A copy of a live database that is one state of it, checked before it counts."""

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
"""SQLite's cache for a check, which looks up every row in every index: with its own 2 MiB it takes twice as long."""


def snapshot(source: Path, target: Path, deadline: float) -> dict[str, Any]:
    """Copy the database while others write; return {bytes, seconds, rows: {table: count}}.

    Raises StewardError after ``deadline`` seconds, when the disk gets full, or when the copy is not sound; then there
    is no copy.
    """
    began = time.monotonic()
    with published(target) as partial, copied(source, partial, deadline) as proven:
        held = proven()
    seconds = round(time.monotonic() - began, 3)
    return {"bytes": target.stat().st_size, "seconds": seconds, "rows": rows(held)}


@contextmanager
def copied(
    source: Path, target: Path, deadline: float, *, wal_cap: int = WAL_CAP, rate: int | None = None
) -> Iterator[Callable[[], dict[str, Table]]]:
    """Copy the database while others write; yield, once the copy is there, what proves it and returns what both hold.

    The copy is checked in a process of its own, while the very transaction that was copied is read here.
    """
    with reading(source), pinned(source) as live:
        if not live.others_write:
            raise StewardError(
                f"{source} is not in WAL mode, so its writers would fail for as long as a backup reads it: put it into "
                "WAL mode (PRAGMA journal_mode=WAL); `ppmctl doctor` has the command"
            )
        need_room(target.parent, live.bytes)
        pace = Pace(source, deadline, wal_cap=wal_cap, rate=rate)
        live.copy(target, pace)
        with beside("verify", str(target)) as verified:

            def proven() -> dict[str, Table]:
                held = digests(live.connection, pace.keep)
                live.connection.execute("COMMIT")
                compare(held, verified()["tables"])
                return held

            yield proven


def verify(copy: Path) -> dict[str, Table]:
    """Check a copy that nobody has open; return what it holds. Raises StewardError with what is not sound."""
    sound(copy)
    with closing(open_for_reading(copy, immutable=True)) as connection:
        return digests(connection)


def sound(copy: Path) -> None:
    """Raise StewardError when a copy that nobody has open is damaged, or has references to rows that are not there."""
    with closing(open_for_reading(copy, immutable=True)) as connection:
        try:
            connection.pragma("cache_size", _CHECKING_KIB)  # it opens the file
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchall() if said == ["ok"] else []
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise Damaged(f"{copy.name} is damaged: {error}") from error
    if said != ["ok"]:
        raise Damaged(f"{copy.name} is damaged: {'; '.join(map(str, said))}")
    if broken:
        raise StewardError(f"{copy.name} has {len(broken)} broken references, first {broken[0]}")


def compare(wanted: dict[str, Table], found: dict[str, Table]) -> None:
    """Raise StewardError, naming the tables, unless both hold the same."""
    if differ := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise StewardError(f"the copy does not hold what the database does: {', '.join(differ)}")


def rows(held: dict[str, Table]) -> dict[str, int]:
    """Given what a database holds, return {table: count of its rows} without SQLite's own tables."""
    return {name: table["rows"] for name, table in held.items() if not name.startswith("sqlite_")}
