"""Files that are there as a whole or not at all."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import cast

from xxhash import xxh3_128

from .errors import DiskFull, StewardError

RESERVE = 64 << 20
"""Bytes that stay free on the disk: the application's own commits need some while a copy grows."""

_BLOCK = 1 << 20
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Of sync_file_range(2)."""
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "afs"})


def sync(path: Path) -> None:
    """Bring a file, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_out(file: FileIO, offset: int, size: int, *, wait: bool = False) -> None:
    """Begin to bring a part of a file to the disk, or wait until it is there; how long the file is, is not."""
    act = _sync_file_range()
    if act(file.fileno(), offset, size, _WAIT_BEFORE | _WRITE | _WAIT_AFTER if wait else _WRITE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), file.name)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int]:
    found = ctypes.CDLL(None, use_errno=True).sync_file_range
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast("Callable[[int, int, int, int], int]", found)


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``target`` when the block ends well, and is gone when it does not."""
    partial = target.with_name(f"{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove(partial)
    try:
        yield partial
        sync(partial)
        partial.replace(target)
        sync(target.parent)
    except BaseException:
        remove(partial)
        raise


def remove(database: Path) -> None:
    """Remove a copy of a database with all that SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            database.with_name(f"{database.name}{suffix}").unlink()


def prune_copies(directory: Path, kept: Path) -> int:
    """Remove the copies in a directory, but one; return how many files that were."""
    old = [path for path in directory.glob("*.db*") if not path.name.startswith(kept.name)]
    for path in old:
        path.unlink()
    return len(old)


def fingerprint(file: Path) -> str:
    """Return a digest of a file's bytes, at the speed of reading them."""
    hashed = xxh3_128()
    with file.open("rb", buffering=0) as source:
        while block := source.read(_BLOCK):
            hashed.update(block)
    return hashed.hexdigest()


def stamp_of(database: Path) -> str:
    """Return what changes whenever SQLite writes to the file."""
    found = database.stat()
    return f"{found.st_mtime_ns}:{found.st_size}"


def need_local(database: Path) -> None:
    """Raise StewardError when the file is on a file system of another machine: SQLite's locks do not hold there."""
    best = ("", "")
    path = database.resolve()
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        mounted, kind = left.split()[4], right.split()[0]
        if path.is_relative_to(mounted) and len(mounted) >= len(best[0]):
            best = (mounted, kind)
    if best[1] in _REMOTE:
        raise StewardError(f"{database} is on {best[1]}, a network file system, where SQLite's locks do not hold")


def need_room(directory: Path, wanted: int) -> None:
    """Raise DiskFull unless so many bytes, and a reserve, are free where the directory is."""
    free = shutil.disk_usage(directory).free
    if free - wanted < RESERVE:
        mib = 1 << 20
        raise DiskFull(
            f"the disk is too full for a copy: {free // mib} MiB are free, "
            f"{wanted // mib} MiB and a reserve of {RESERVE // mib} MiB are needed"
        )
