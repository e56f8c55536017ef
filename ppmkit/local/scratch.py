"""Temporary local directories, and removal of those that killed processes left behind.

A process that is killed (``kill -9``, power loss) leaves its directory, with partly sent images or dead sockets. Each
directory is locked while its process lives. Creating a new one removes all that are not locked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "ppmctl-run-"


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a private directory that is removed at the end of the block."""
    _sweep()
    path, lock = _locked()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked() -> tuple[Path, int]:
    """Return a new directory and the descriptor that holds its lock. Child processes do not inherit it."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))  # mode 0700
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)  # another process removed it before it was locked


def _sweep() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or gone
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass  # its process is alive
        finally:
            os.close(lock)
