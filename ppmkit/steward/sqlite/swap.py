"""Putting a copy in the place of the database: at every moment the file there is the old one, or the new one, whole."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from ..errors import StewardError, unreadable
from ..files import fingerprint, need_room, published, remove, stamp_of, sync
from .locks import alone, refuse_if_open
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
        _put(incoming, target, _verified(incoming, fingerprint(copy)))
        return {**_done(target, began), "rows": held}


def keep(database: Path, copy: Path) -> dict[str, Any]:
    """Keep what the database is, under the name of ``copy`` too, before another file takes its place; return {bytes}.

    Nobody may have it open. Nothing is copied: it is the same file. One that is too damaged to be read is kept with
    all that lies beside it.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    remove(copy)
    whole = _settle(database)
    refuse_if_open(database)
    _link(database, copy, ("",) if whole else ("", *_BESIDE))
    return {"bytes": copy.stat().st_size}


def drop(database: Path, copy: Path) -> dict[str, Any]:
    """Take the name away that :func:`keep` gave, unless another file has become the database; return {dropped}.

    Then that name is all that is left of what the database was.
    """
    same = copy.exists() and database.exists() and copy.samefile(database)
    if same:
        remove(copy)
    return {"dropped": same}


def take(copy: Path, target: Path, fingerprint: str) -> dict[str, Any]:
    """Put ``copy`` in the place of ``target``; return {bytes, seconds, stamp}. The copy is no more.

    It must have been verified when it had this fingerprint, and lie on the same file system.
    """
    return taking(copy, target, fingerprint)()


def taking(copy: Path, target: Path, fingerprint: str) -> Callable[[], dict[str, Any]]:
    """See that the copy has this fingerprint; return what puts it in the place of ``target``, as :func:`take` does.

    So nothing large is read or written while users wait. Who has touched the copy meanwhile is noticed.
    """
    verified = _verified(copy, fingerprint)

    def act() -> dict[str, Any]:
        began = time.monotonic()
        with alone(target):
            _put(copy, target, verified)
            return _done(target, began)

    return act


class _Verified(NamedTuple):
    """The state in which a file was verified."""

    inode: int
    size: int
    written: int
    changed: int
    """By this the kernel tells of every write, and nobody can set it; so does a rename."""


def _state(file: Path) -> _Verified:
    found = file.stat()
    return _Verified(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _verified(file: Path, wanted: str) -> _Verified:
    """Return the state of a file that has the wanted fingerprint. Raises StewardError when it has another one."""
    state = _state(file)
    if fingerprint(file) != wanted:
        raise StewardError(f"{file.name} is not the copy that was verified")
    return state


def _refuse_another(file: Path, verified: _Verified) -> None:
    if _state(file) != verified:
        raise StewardError(f"somebody has touched {file.name} since it was verified")


def _put(incoming: Path, target: Path, verified: _Verified) -> None:
    """Replace the target by one rename, and see that it is what was verified; else the old one is back."""
    if target.exists():
        if not _settle(target):
            _link(target, target.with_name(f"{target.name}.damaged"), ("", *_BESIDE))
        refuse_if_open(target)
    for suffix in _BESIDE:  # the last one to close has folded them in, and taken them away
        target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
    replaced = target.with_name(f"{target.name}.replaced")
    replaced.unlink(missing_ok=True)
    if target.exists():
        os.link(target, replaced)
    try:
        _refuse_another(incoming, verified)
        incoming.replace(target)
        sync(target.parent)
        _look_at(target, verified)
        replaced.unlink(missing_ok=True)
    except BaseException:
        if replaced.exists():
            replaced.replace(target)
            sync(target.parent)
        raise


def _settle(database: Path) -> bool:
    """Make one file of the database, and leave nothing beside it; return False when it is too damaged for that.

    All that was committed is folded into it: a -wal that stays behind would be played into the new one, and undo the
    restore without a word.
    """
    try:
        with closing(quiet(database)) as connection:
            connection.execute("ROLLBACK")
    except apsw.Error as error:
        if not unreadable(error):
            raise
        return False
    return True


def _link(database: Path, kept: Path, suffixes: Iterable[str]) -> None:
    """Give the files of a database further names; what had these has them no more."""
    for suffix in suffixes:
        name = kept.with_name(f"{kept.name}{suffix}")
        name.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.link(database.with_name(f"{database.name}{suffix}"), name)
    sync(kept.parent)


def _look_at(target: Path, verified: _Verified) -> None:
    """Raise StewardError unless the file at its place is the one that was verified, and SQLite sees that alone."""
    if left := [suffix for suffix in _BESIDE if target.with_name(f"{target.name}{suffix}").exists()]:
        raise StewardError(f"somebody has made {target.name}{left[0]} meanwhile")
    with closing(apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    _refuse_another(target, verified._replace(changed=target.stat().st_ctime_ns))


def _done(target: Path, began: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - began, 3)
    return {"bytes": target.stat().st_size, "seconds": seconds, "stamp": stamp_of(target)}
