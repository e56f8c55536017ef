"""Atomic and durable file operations."""

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
"""Bytes to keep free on the disk: the application's commits need space while a copy grows."""

_BLOCK = 1 << 20
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Flags of sync_file_range(2)."""
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "afs"})


def sync(path: Path) -> None:
    """Fsync a file, or a directory's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_out(file: FileIO, offset: int, size: int, *, wait: bool = False) -> None:
    """Start writing a part of a file to the disk, or wait until it is written; does not sync the file's size."""
    act = _sync_file_range()
    if act(file.fileno(), offset, size, _WAIT_BEFORE | _WRITE | _WAIT_AFTER if wait else _WRITE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), file.name)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int]:
    function = ctypes.CDLL(None, use_errno=True).sync_file_range
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast("Callable[[int, int, int, int], int]", function)


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``target`` if the block succeeds, else it is removed."""
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
    """Remove a copy of a database with SQLite's files next to it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            database.with_name(f"{database.name}{suffix}").unlink()


def prune_copies(directory: Path, kept: Path) -> int:
    """Remove all copies in a directory except one; return the number of files."""
    old = [path for path in directory.glob("*.db*") if not path.name.startswith(kept.name)]
    for path in old:
        path.unlink()
    return len(old)


def fingerprint(file: Path) -> str:
    """Return a fast digest of a file's content."""
    hashed = xxh3_128()
    with file.open("rb", buffering=0) as source:
        while block := source.read(_BLOCK):
            hashed.update(block)
    return hashed.hexdigest()


def stamp_of(database: Path) -> str:
    """Return a stamp that changes whenever SQLite writes to the file."""
    stat = database.stat()
    return f"{stat.st_mtime_ns}:{stat.st_size}"


def need_local(database: Path) -> None:
    """Raise StewardError if the file is on a network file system, where SQLite's locks are not reliable."""
    best = ("", "")
    path = database.resolve()
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        mounted, kind = left.split()[4], right.split()[0]
        if path.is_relative_to(mounted) and len(mounted) >= len(best[0]):
            best = (mounted, kind)
    if best[1] in _REMOTE:
        raise StewardError(f"{database} is on {best[1]}, a network file system, where SQLite's locks are not reliable")


def need_room(directory: Path, size: int) -> None:
    """Raise DiskFull unless ``size`` bytes and a reserve are free on the directory's disk."""
    free = shutil.disk_usage(directory).free
    if free - size < RESERVE:
        mib = 1 << 20
        raise DiskFull(
            f"the disk is too full for a copy: {free // mib} MiB are free, "
            f"{size // mib} MiB and a reserve of {RESERVE // mib} MiB are needed"
        )
