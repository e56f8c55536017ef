"""Putting a copy in the place of the database: at every moment the file there is the old one, or the new one, whole."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw

from .errors import StewardError, unreadable
from .files import fingerprint, need_room, published, stamp_of, sync
from .holders import alone, refuse_if_open
from .pages import quiet
from .snapshot import rows, verify

_BESIDE = ("-wal", "-shm")


def restore(copy: Path, target: Path) -> dict[str, Any]:
    """Put ``copy`` in the place of ``target``; return {bytes, seconds, rows, stamp}. The copy stays.

    Nobody may have the database open. Who waits to open it looks at it under the lock that is held here.
    """
    began = time.monotonic()
    held = rows(verify(copy))
    incoming = target.with_name(f"{target.name}.incoming")
    with alone(target):
        need_room(target.parent, copy.stat().st_size)
        with published(incoming) as partial:
            shutil.copyfile(copy, partial)
        _put(incoming, target, fingerprint(copy))
        return {**_done(target, began), "rows": held}


def take(copy: Path, target: Path, fingerprint: str) -> dict[str, Any]:
    """Put ``copy`` in the place of ``target``; return {bytes, seconds, stamp}. The copy is no more.

    It must have been verified when it had this fingerprint, and lie on the same file system. Nothing large is
    written or checked row by row while users wait: at the end the file at its place has the bytes that were verified.
    """
    began = time.monotonic()
    with alone(target):
        _put(copy, target, fingerprint)
        return _done(target, began)


def _put(incoming: Path, target: Path, wanted: str) -> None:
    """Replace the target by one rename, and see that it is what was wanted; else the old one is back."""
    if target.exists():
        _settle(target)
        refuse_if_open(target)
    for suffix in _BESIDE:  # the last one to close has folded them in, and taken them away
        target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
    replaced = target.with_name(f"{target.name}.replaced")
    replaced.unlink(missing_ok=True)
    if target.exists():
        os.link(target, replaced)
    try:
        incoming.replace(target)
        sync(target.parent)
        _look_at(target, wanted)
        replaced.unlink(missing_ok=True)
    except BaseException:
        if replaced.exists():
            replaced.replace(target)
            sync(target.parent)
        raise


def _settle(target: Path) -> None:
    """Make one file of the database that is there, and leave nothing beside it.

    All that was committed is folded into it: a -wal that stays behind would be played into the new one, and undo the
    restore without a word. A database that is too damaged for that is kept as it is, under another name.
    """
    try:
        with closing(quiet(target)) as connection:
            connection.execute("ROLLBACK")
    except apsw.Error as error:
        if not unreadable(error):
            raise
        for suffix in ("", *_BESIDE):
            kept = target.with_name(f"{target.name}.damaged{suffix}")
            kept.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                os.link(target.with_name(f"{target.name}{suffix}"), kept)
        sync(target.parent)


def _look_at(target: Path, wanted: str) -> None:
    """Raise StewardError unless the file at its place has the wanted bytes, and SQLite sees those and nothing else."""
    if left := [suffix for suffix in _BESIDE if target.with_name(f"{target.name}{suffix}").exists()]:
        raise StewardError(f"somebody has made {target.name}{left[0]} meanwhile")
    with closing(apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    if fingerprint(target) != wanted:
        raise StewardError(f"{target.name} is not the copy that was verified")


def _done(target: Path, began: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - began, 3)
    return {"bytes": target.stat().st_size, "seconds": seconds, "stamp": stamp_of(target)}
