"""Detect processes that have the database open, and prevent other processes from opening it."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StewardError

_FLOCK = "hhqqi4x"
"""struct flock of fcntl(2), on 64-bit systems."""
_FIRST, _LENGTH = 0x40000000, 512
"""SQLite's own locks: a process that has a database in WAL mode open always holds one of these bytes
(https://sqlite.org/fileformat2.html, "the lock-byte page")."""
_alone: set[Path] = set()


def refuse_if_open(database: Path) -> None:
    """Raise StewardError if another process has the database open, even if it is idle."""
    with database.open("rb+") as file:
        query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _FIRST, _LENGTH, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, query))
    if answer[0] != fcntl.F_UNLCK:
        who = f"process {answer[4]}" if answer[4] > 0 else "a process outside this container"
        raise StewardError(f"{who} has {database.name} open")


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Hold the lock that every process checks before it opens the database; this process may hold it already."""
    if database in _alone:
        yield
        return
    with database.with_name(f"{database.name}.migrating").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _alone.add(database)
        try:
            yield
        finally:
            _alone.remove(database)
