"""What the steward says when it cannot do what it was asked."""

from __future__ import annotations

import apsw

UNREADABLE = (apsw.CorruptError, apsw.NotADBError, apsw.IOError)
"""SQLite cannot read it. The last: the disk cannot, or the -wal is gone while others have the database open."""


class StewardError(Exception):
    """The text says what is wrong; nothing was changed."""


class KeyMissing(StewardError):
    """It is encrypted, and nothing here can read it: that says nothing about whether it is sound."""


class DiskFull(StewardError):
    """There is too little room here: that says nothing about the backup."""
