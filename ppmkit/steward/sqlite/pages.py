"""Bringing an older copy up to date by the pages that differ: most of a database did not change in a few minutes."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from ..errors import StewardError
from ..files import need_room, sync

_BLOCK = 1 << 20


def freshen(source: Path, copy: Path) -> dict[str, Any]:
    """Make ``copy`` the same as the database, which nobody else writes to; return {bytes, written, seconds}.

    Reading both and writing little takes about a third of a copy's time. While it goes on the copy has another
    name, for it is neither the old state nor the new one. Raises StewardError when somebody else has the
    database open for writing.
    """
    began = time.monotonic()
    partial = copy.with_name(f"{copy.name}.partial")
    if copy.exists():
        copy.replace(partial)
    copy.parent.mkdir(parents=True, exist_ok=True)
    connection = quiet(source)
    # Closed after SQLite's own connection: to close it earlier would drop the locks of this process (fcntl(2)).
    with source.open("rb") as here, closing(connection):
        need_room(partial.parent, max(0, source.stat().st_size - (partial.stat().st_size if partial.exists() else 0)))
        written = _copy_differences(here.fileno(), partial)
    sync(partial)
    partial.replace(copy)
    sync(copy.parent)
    return {"bytes": copy.stat().st_size, "written": written, "seconds": round(time.monotonic() - began, 3)}


def quiet(database: Path) -> apsw.Connection:
    """Return a connection that keeps all others from writing, after all that was committed is in the file itself."""
    if not database.is_file():
        raise StewardError(f"there is no {database}")
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(1000)
        [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not busy:
            connection.execute("BEGIN IMMEDIATE")
            return connection
    except apsw.BusyError:
        pass
    except BaseException:
        connection.close()
        raise
    connection.close()
    raise StewardError(f"somebody still writes to {database.name}")


def _copy_differences(here: int, target: Path) -> int:
    """Return the bytes that were written to make the target equal to an open file."""
    written = offset = 0
    size = os.fstat(here).st_size
    there = os.open(target, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        while offset < size:
            wanted = os.pread(here, _BLOCK, offset)
            if os.pread(there, len(wanted), offset) != wanted:
                written += os.pwrite(there, wanted, offset)
            offset += len(wanted)
        os.ftruncate(there, size)
    finally:
        os.close(there)
    return written
