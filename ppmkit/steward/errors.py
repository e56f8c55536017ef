"""What the steward says when it cannot do what it was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from .exit_codes import DAMAGED, INCONCLUSIVE

_CANNOT_READ = frozenset(
    {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_DATA}
)
"""Of all that SQLite calls a disk I/O error (https://sqlite.org/rescode.html): the others are of writing."""


class StewardError(Exception):
    """The text says what is wrong; nothing was changed."""

    status = 1
    """What a command ends with: ppmctl tells them apart by it."""


class Damaged(StewardError):
    """The database cannot be read."""

    status = DAMAGED


class Inconclusive(StewardError):
    """Something is missing here: that says nothing about whether the backup is sound."""

    status = INCONCLUSIVE


class KeyMissing(Inconclusive):
    """It is encrypted, and nothing here can read it."""


class DiskFull(Inconclusive):
    """There is too little room here."""


def unreadable(error: BaseException) -> bool:
    """Return whether a database cannot be read: it is none any more, its disk fails, or others lost its -wal.

    A disk that is full, or cannot be written to, says nothing of what lies on it.
    """
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) in _CANNOT_READ  # its type does not tell of it
    return isinstance(error, (apsw.CorruptError, apsw.NotADBError))


@contextmanager
def reading(database: Path) -> Iterator[None]:
    """Raise Damaged when the block finds that the database cannot be read."""
    try:
        yield
    except apsw.Error as error:
        if not unreadable(error):
            raise
        raise Damaged(f"{database.name} is damaged: {error}") from error


def failed(status: int, said: str) -> StewardError:
    """Given what a command of the steward ended with, and its sentence, return what it has raised."""
    kinds: dict[int, type[StewardError]] = {DAMAGED: Damaged, INCONCLUSIVE: Inconclusive}
    return kinds.get(status, StewardError)(said or f"it ended with status {status}")
