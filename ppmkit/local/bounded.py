"""What a host says, read within a deadline and up to a size: a host that is broken or taken over may say anything.

A stalled login, a hung file system or a log without end must neither stop ppmctl for ever nor fill its memory.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import IO, Any

from ppmkit.local.pool import awaited

LIMIT = 16 << 20
"""Bytes of one answer: the largest honest one, a release's list of packages, has one tenth of it."""
TOO_MUCH = f"it said more than {LIMIT >> 20} MiB, which is more than any answer has"
_STATUS_TOO_MUCH = 141
"""The status that a shell reports for a program that writes where nobody reads."""
_BLOCK = 1 << 16
_BEAT = 0.2
"""Seconds between two looks at whether the wait was cancelled."""


class TooMuchError(Exception):
    """More was said than there is room for; the text says so."""

    def __init__(self) -> None:
        super().__init__(TOO_MUCH)


def exchange(
    outputs: Sequence[IO[bytes]],
    ended: Callable[[bytearray], bool],
    timeout: float | None,
    *,
    stdin: IO[bytes] | None = None,
    request: bytes = b"",
    last: bool = False,
    limit: int = LIMIT,
    cancelled: threading.Event | None = None,
) -> list[bytearray]:
    """Write the request, and read each output until ``ended`` says so of what it said, or it is closed; return them.

    With ``last`` the input is closed after the request. Raises TimeoutError after ``timeout`` seconds, TooMuchError
    when one output says more than ``limit`` bytes, and KeyboardInterrupt once ``cancelled`` is set.
    """
    until = None if timeout is None else time.monotonic() + timeout
    said, rest = [bytearray() for _ in outputs], memoryview(request)
    with selectors.DefaultSelector() as ready:
        if stdin is not None:
            os.set_blocking(stdin.fileno(), False)
            ready.register(stdin, selectors.EVENT_WRITE)
        for output, text in zip(outputs, said, strict=True):
            ready.register(output, selectors.EVENT_READ, text)
        while ready.get_map():
            for key, _ in ready.select(_patience(until, cancelled)):
                if key.data is None:
                    rest = rest[_write(key.fd, rest) :]
                    done = not rest
                else:
                    block = os.read(key.fd, _BLOCK)
                    key.data.extend(block)
                    done = not block or ended(key.data)
                    if len(key.data) > limit:
                        raise TooMuchError
                if done:
                    ready.unregister(key.fileobj)
                    if key.data is None and last and stdin is not None:
                        stdin.close()
    return said


def _patience(until: float | None, cancelled: threading.Event | None) -> float | None:
    """Return how long to wait for something to be said. Raises TimeoutError and KeyboardInterrupt."""
    if cancelled is not None and cancelled.is_set():
        raise KeyboardInterrupt
    left = None if until is None else until - time.monotonic()
    if left is not None and left <= 0:
        raise TimeoutError
    return left if cancelled is None else _BEAT if left is None else min(left, _BEAT)


def _write(descriptor: int, rest: memoryview) -> int:
    """Write what the pipe takes; return how much that was."""
    try:
        return os.write(descriptor, rest)
    except BrokenPipeError:
        return len(rest)  # the outputs say why


def has_line(text: bytearray) -> bool:
    """Return whether a line was said."""
    return b"\n" in text


def never(_: bytearray) -> bool:
    """Return that an output has not ended: it does when it is closed."""
    return False


def run(
    argv: Sequence[str], *, input: str = "", timeout: float | None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run`` with both outputs captured as text; one that says too much ends with status 141.

    Raises subprocess.TimeoutExpired.
    """
    done = _run(argv, input=input.encode(), timeout=timeout, **options)
    stdout, stderr = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(argv, done.returncode, stdout, stderr)


def _run(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    timeout: float | None = None,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """As ``subprocess.run``, whose arguments these are."""
    stdin = None if input is None else subprocess.PIPE
    with subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, **options) as process, awaited(process):
        outputs = [pipe for pipe in (process.stdout, process.stderr) if pipe]
        try:
            said = exchange(outputs, never, timeout, stdin=process.stdin, request=input or b"", last=True)
            process.wait(timeout)
        except TooMuchError:
            process.kill()
            nothing, why = (b"" if process.stdout else None), (TOO_MUCH.encode() if process.stderr else None)
            return subprocess.CompletedProcess(argv, _STATUS_TOO_MUCH, nothing, why)
        except TimeoutError:
            process.kill()
            raise subprocess.TimeoutExpired(argv, timeout or 0) from None
        except BaseException:
            process.kill()
            raise
    texts = [bytes(said.pop(0)) if pipe else None for pipe in (process.stdout, process.stderr)]
    return subprocess.CompletedProcess(argv, process.returncode, *texts)


def bind_python_on_whales() -> None:
    """Have python-on-whales read no more of a command than others here do: by itself it knows no limit."""
    from python_on_whales import utils

    vars(utils)["subprocess"] = SimpleNamespace(run=_run, PIPE=subprocess.PIPE)


class Tail:
    """The end of what a pipe says, read in a thread of its own, so that the writer never has to wait."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._said = bytearray()
        # Of its own, so that the owner may close the pipe whenever it likes.
        own = os.fdopen(os.dup(pipe.fileno()), "rb", buffering=0)
        self._thread = threading.Thread(target=self._read, args=(own,), daemon=True)
        self._thread.start()

    def _read(self, own: IO[bytes]) -> None:
        with own:
            while block := own.read(_BLOCK):
                self._said += block
                del self._said[:-_BLOCK]

    def text(self, seconds: float = 1) -> str:
        """Return the end of what was said, once the pipe is closed or after so long."""
        self._thread.join(seconds)
        return bytes(self._said).decode(errors="replace").strip()
