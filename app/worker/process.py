"""Running another program within limits: on its time, its output, and what it may write."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from select import select
from subprocess import Popen
from tempfile import TemporaryFile
from typing import IO

MAX_OUTPUT = 16 << 20
"""Maximum output of a program, in bytes: all of it is in memory afterwards."""
_LOOK_SECONDS = 0.2


class LimitError(Exception):
    """A program was ended because it exceeded a limit. The text says which."""


class Cancelled(Exception):
    """The worker is stopping; the run is neither a success nor a failure."""


class ExitError(Exception):
    """A program failed."""

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(f"status {status}: {stderr}")
        self.status, self.stderr = status, stderr


@dataclass(frozen=True)
class Limits:
    """The limits of one scan; its programs share them."""

    seconds: float
    until: float
    """The end of their time, on the monotonic clock."""
    folder: Path
    """The folder that they write to, whose size is limited."""
    folder_bytes: int
    cancelled: threading.Event

    def check(self) -> None:
        """Raise LimitError or Cancelled when a program must not continue."""
        if self.cancelled.is_set():
            raise Cancelled
        if time.monotonic() > self.until:
            raise LimitError(f"not finished within {self.seconds:g} s")
        if size(self.folder) > self.folder_bytes:
            raise LimitError(f"larger than {self.folder_bytes >> 20} MiB")


def size(folder: Path) -> int:
    """Return the total bytes of the files below a folder; a file that is deleted meanwhile does not count."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 - twice as quick, and often
            except FileNotFoundError:
                continue
    return total


def run(argv: list[str], environment: Mapping[str, str], limits: Limits, stdin: bytes = b"") -> bytes:
    """Run a program in a separate process group; return its output.

    Raises ExitError, LimitError or Cancelled; then none of its processes is left.
    """
    limits.check()
    # Files, not pipes: the output needs no reader meanwhile, and its size can be checked.
    with TemporaryFile() as source, TemporaryFile() as out, TemporaryFile() as err:
        source.write(stdin)
        source.seek(0)
        process = Popen(argv, env=environment, stdin=source, stdout=out, stderr=err, start_new_session=True)
        try:
            while not _ended(process):
                limits.check()
                if os.fstat(out.fileno()).st_size > MAX_OUTPUT or os.fstat(err.fileno()).st_size > MAX_OUTPUT:
                    raise LimitError(f"git printed more than {MAX_OUTPUT >> 20} MiB")
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            raise ExitError(process.returncode, _content(err).decode(errors="replace"))
        return _content(out)


def _ended(process: Popen[bytes]) -> bool:
    """Wait a moment; return whether a program has ended. This notices the end at once; Popen.wait polls every 50 ms."""
    descriptor = os.pidfd_open(process.pid)
    try:
        select([descriptor], [], [], _LOOK_SECONDS)
    finally:
        os.close(descriptor)
    return process.poll() is not None


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAX_OUTPUT)
