"""Directories of this machine for the time of some work, and the end of those that were left behind.

Who is killed (``kill -9``, no power) leaves one, with images on their way or sockets that lead nowhere. Each is locked
for as long as its process lives, and whoever makes the next takes away those that nobody holds.
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
    """Yield a directory that nobody else enters, and that goes with the block."""
    _sweep()
    path, lock = _locked()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked() -> tuple[Path, int]:
    """Return a new directory, and the open file that holds its lock: no program that we start inherits it."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))  # mode 0700
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)  # somebody swept it away before it was locked


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
            pass  # its process lives
        finally:
            os.close(lock)
