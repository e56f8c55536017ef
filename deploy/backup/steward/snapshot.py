"""A copy of a live database that is one state of it, checked before it counts."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from .database import open_for_reading
from .digest import Table, digests
from .errors import Damaged, StewardError, reading
from .files import need_room, published
from .pace import WAL_CAP, Pace

_STEP = 4 << 20
"""Bytes: between two steps others may write, and the disk is looked at."""


def snapshot(source: Path, target: Path, deadline: float) -> dict[str, Any]:
    """Copy the database while others write; return {bytes, seconds, rows: {table: count}}.

    Raises StewardError after ``deadline`` seconds, when the disk gets full, or when the copy is not sound; then there
    is no copy.
    """
    began = time.monotonic()
    with published(target) as partial:
        held = copy(source, partial, deadline)
        compare(held, verify(partial))
    seconds = round(time.monotonic() - began, 3)
    return {"bytes": target.stat().st_size, "seconds": seconds, "rows": rows(held)}


def copy(
    source: Path, target: Path, deadline: float, *, wal_cap: int = WAL_CAP, rate: int | None = None
) -> dict[str, Table]:
    """Copy the database while others write; return what it held, as the very transaction has it that was copied.

    One read transaction is held from the first page to the last. Without it SQLite would start the copy over at
    every commit of another process (https://sqlite.org/backup.html). Raises StewardError.
    """
    with reading(source), closing(open_for_reading(source)) as live:
        need_room(target.parent, _number(live, "page_count") * _number(live, "page_size"))
        pace = Pace(source, deadline, wal_cap=wal_cap, rate=rate)
        live.execute("BEGIN")
        held = digests(live, pace.keep)
        copy_pages(live, target, pace)
        live.execute("COMMIT")
    return held


def copy_pages(live: apsw.Connection, target: Path, pace: Pace) -> None:
    """Copy what the connection's transaction sees, a few MiB a step."""
    size = _number(live, "page_size")
    step = max(1, _STEP // size)
    with closing(apsw.Connection(str(target))) as copied:
        copied.execute("PRAGMA synchronous=OFF")  # it is brought to the disk as a whole, once
        with copied.backup("main", live, "main") as backup:
            while not backup.done:
                backup.step(step)
                need_room(target.parent, 0)
                pace.keep((backup.page_count - backup.remaining) * size)


def _number(connection: apsw.Connection, pragma: str) -> int:
    [(value,)] = connection.execute(f"PRAGMA {pragma}").fetchall()
    return int(str(value))


def verify(copy: Path) -> dict[str, Table]:
    """Check a copy that nobody has open; return what it holds. Raises StewardError with what is not sound."""
    sound(copy)
    with closing(open_for_reading(copy, immutable=True)) as connection:
        return digests(connection)


def sound(copy: Path) -> None:
    """Raise StewardError when a copy that nobody has open is damaged, or has references to rows that are not there."""
    with closing(open_for_reading(copy, immutable=True)) as connection:
        try:
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
