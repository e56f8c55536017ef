"""A copy of a live database that is one state of it, checked before it counts."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from .errors import StewardError
from .files import need_room, published

PAGES = 1000
"""Of each step: between two of them others may write, and the disk is looked at."""


def snapshot(source: Path, target: Path, deadline: float) -> dict[str, Any]:
    """Copy the database while others write; return {bytes, seconds, rows: {table: count}}.

    One read transaction is held from the first page to the last. Without it SQLite would start the copy over at
    every commit of another process (https://sqlite.org/backup.html). Raises StewardError after ``deadline`` seconds,
    when the disk gets full, or when the copy is not sound; then there is no copy.
    """
    began = time.monotonic()
    with published(target) as partial:
        need_room(partial.parent, source.stat().st_size)
        with closing(open_for_reading(source)) as live:
            live.execute("BEGIN")
            counted = rows(live)
            with closing(apsw.Connection(str(partial))) as copy, copy.backup("main", live, "main") as backup:
                while not backup.done:
                    backup.step(PAGES)
                    need_room(partial.parent, 0)
                    if time.monotonic() - began > deadline:
                        raise StewardError(f"the copy was not done within {deadline:g} s")
            live.execute("COMMIT")
        if (found := verify(partial)) != counted:
            raise StewardError(f"the copy has other rows than the database: {found} instead of {counted}")
    return {"bytes": target.stat().st_size, "seconds": round(time.monotonic() - began, 3), "rows": counted}


def verify(copy: Path) -> dict[str, int]:
    """Check a copy that nobody has open; return its rows by table. Raises StewardError with what is not sound."""
    with closing(open_for_reading(copy, immutable=True)) as connection:
        if (said := [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]) != ["ok"]:
            raise StewardError(f"{copy.name} is damaged: {'; '.join(said)}")
        if broken := connection.execute("PRAGMA foreign_key_check").fetchall():
            raise StewardError(f"{copy.name} has {len(broken)} broken references, first {broken[0]}")
        return rows(connection)


def open_for_reading(database: Path, *, immutable: bool = False) -> apsw.Connection:
    """Return a connection that cannot write. ``immutable`` is for finished copies only, never for a live file."""
    if not database.is_file():
        raise StewardError(f"there is no {database}")
    uri = f"file:{database}?mode=ro{'&immutable=1' if immutable else ''}"
    connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connection.set_busy_timeout(10_000)
    return connection


def tables(connection: apsw.Connection, schema: str = "main") -> list[str]:
    """Return the names of the tables that hold rows of the application, in order."""
    chosen = "SELECT name FROM pragma_table_list WHERE schema = ? AND type = 'table' AND name NOT LIKE 'sqlite\\_%' "
    return [str(row[0]) for row in connection.execute(chosen + "ESCAPE '\\' ORDER BY name", (schema,))]


def rows(connection: apsw.Connection) -> dict[str, int]:
    """Return {table: count of its rows}."""
    counts = {}
    for table in tables(connection):
        [(count,)] = connection.execute(f"SELECT count(*) FROM {quoted(table)}")  # noqa: S608
        counts[table] = int(str(count))
    return counts


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
