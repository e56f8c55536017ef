"""The steward's exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from .exit_codes import DAMAGED, INCONCLUSIVE

_CANNOT_READ = frozenset(
    {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_DATA}
)
"""The read errors among SQLite's disk I/O errors (https://sqlite.org/rescode.html); the others are write errors."""


class StewardError(Exception):
    """The command failed; the text says why, and nothing was changed."""

    status = 1
    """The command's exit status, by which ppmctl distinguishes the errors."""


class Damaged(StewardError):
    """The database cannot be read."""

    status = DAMAGED


class Inconclusive(StewardError):
    """A requirement is missing here, so the state of the backup is unknown."""

    status = INCONCLUSIVE


class KeyMissing(Inconclusive):
    """The backup is encrypted, and no key here can decrypt it."""


class DiskFull(Inconclusive):
    """The disk has too little free space."""


def unreadable(error: BaseException) -> bool:
    """Return whether a database cannot be read: it is corrupt, its disk is failing, or its -wal was lost.

    A full or read-only disk does not count: it says nothing about the data.
    """
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) in _CANNOT_READ  # apsw's type stubs lack this attribute
    return isinstance(error, (apsw.CorruptError, apsw.NotADBError))


@contextmanager
def reading(database: Path) -> Iterator[None]:
    """Raise Damaged if an error in the block means that the database cannot be read."""
    try:
        yield
    except apsw.Error as error:
        if not unreadable(error):
            raise
        raise Damaged(f"{database.name} is damaged: {error}") from error


def failed(status: int, message: str) -> StewardError:
    """Given the exit status and error message of a steward command, return the matching error."""
    kinds: dict[int, type[StewardError]] = {DAMAGED: Damaged, INCONCLUSIVE: Inconclusive}
    return kinds.get(status, StewardError)(message or f"it ended with status {status}")
