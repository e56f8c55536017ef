"""Replace the database with a copy atomically: at any time, the file is either the complete old one or the new one."""

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
    """Replace ``target`` with a duplicate of ``copy``; return {bytes, seconds, rows, stamp}. The copy stays.

    No other process may have the database open. A process that waits to open it first takes the lock that is held here.
    """
    began = time.monotonic()
    counts = rows(verify(copy))
    incoming = target.with_name(f"{target.name}.incoming")
    with alone(target):
        need_room(target.parent, copy.stat().st_size)
        with published(incoming) as partial:
            shutil.copyfile(copy, partial)
        _put(incoming, target, _verified(incoming, fingerprint(copy)))
        return {**_result(target, began), "rows": counts}


def keep(database: Path, copy: Path) -> dict[str, Any]:
    """Link the database to the name ``copy`` before another file replaces it; return {bytes}.

    No other process may have it open. Nothing is copied: both names are the same file. A database that is too damaged
    to be read is kept together with the files next to it.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    remove(copy)
    whole = _settle(database)
    refuse_if_open(database)
    _link(database, copy, ("",) if whole else ("", *_BESIDE))
    return {"bytes": copy.stat().st_size}


def drop(database: Path, copy: Path) -> dict[str, Any]:
    """Remove the name that :func:`keep` added, unless another file replaced the database; return {dropped}.

    After a replacement, that name is the only one left of the old database, so it stays.
    """
    same = copy.exists() and database.exists() and copy.samefile(database)
    if same:
        remove(copy)
    return {"dropped": same}


def take(copy: Path, target: Path, fingerprint: str) -> dict[str, Any]:
    """Replace ``target`` by moving ``copy`` there; return {bytes, seconds, stamp}.

    The copy must have had this fingerprint when it was verified, and must be on the same file system.
    """
    return taking(copy, target, fingerprint)()


def taking(copy: Path, target: Path, fingerprint: str) -> Callable[[], dict[str, Any]]:
    """Check the copy's fingerprint; return a function that then replaces ``target`` like :func:`take`.

    This way, nothing large is read or written while users wait. A change of the copy in the meantime is detected.
    """
    verified = _verified(copy, fingerprint)

    def act() -> dict[str, Any]:
        began = time.monotonic()
        with alone(target):
            _put(copy, target, verified)
            return _result(target, began)

    return act


class _Verified(NamedTuple):
    """The state in which a file was verified."""

    inode: int
    size: int
    written: int
    changed: int
    """The ctime: every write and rename changes it, and no process can set it."""


def _state(file: Path) -> _Verified:
    stat = file.stat()
    return _Verified(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _verified(file: Path, expected: str) -> _Verified:
    """Return the state of a file with the expected fingerprint. Raises StewardError if it has another one."""
    state = _state(file)
    if fingerprint(file) != expected:
        raise StewardError(f"{file.name} is not the copy that was verified")
    return state


def _refuse_changed(file: Path, verified: _Verified) -> None:
    if _state(file) != verified:
        raise StewardError(f"{file.name} was changed after it was verified")


def _put(incoming: Path, target: Path, verified: _Verified) -> None:
    """Replace the target by one rename, and check that it is the verified file; else restore the old one."""
    if target.exists():
        if not _settle(target):
            _link(target, target.with_name(f"{target.name}.damaged"), ("", *_BESIDE))
        refuse_if_open(target)
    for suffix in _BESIDE:  # usually gone: the last process to close the database removes them
        target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
    replaced = target.with_name(f"{target.name}.replaced")
    replaced.unlink(missing_ok=True)
    if target.exists():
        os.link(target, replaced)
    try:
        _refuse_changed(incoming, verified)
        incoming.replace(target)
        sync(target.parent)
        _confirm(target, verified)
        replaced.unlink(missing_ok=True)
    except BaseException:
        if replaced.exists():
            replaced.replace(target)
            sync(target.parent)
        raise


def _settle(database: Path) -> bool:
    """Merge all commits into the database file, with no files left next to it; return False if it is too damaged.

    A leftover -wal would be applied to the new database and would silently undo the restore.
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
    """Add names to the files of a database; existing files with these names are replaced."""
    for suffix in suffixes:
        name = kept.with_name(f"{kept.name}{suffix}")
        name.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.link(database.with_name(f"{database.name}{suffix}"), name)
    sync(kept.parent)


def _confirm(target: Path, verified: _Verified) -> None:
    """Raise StewardError unless the target is the verified file and SQLite has no other files next to it."""
    if left := [suffix for suffix in _BESIDE if target.with_name(f"{target.name}{suffix}").exists()]:
        raise StewardError(f"another process created {target.name}{left[0]} in the meantime")
    with closing(apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    _refuse_changed(target, verified._replace(changed=target.stat().st_ctime_ns))


def _result(target: Path, began: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - began, 3)
    return {"bytes": target.stat().st_size, "seconds": seconds, "stamp": stamp_of(target)}
