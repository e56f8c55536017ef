"""Read output within a deadline and a size limit, because a broken or compromised host may send anything.

A stalled login, a hung file system or an endless log must neither block ppmctl forever nor fill its memory.
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
"""Maximum bytes of one answer: ten times the largest legitimate one, a release's package list."""
TOO_MUCH = f"it printed more than {LIMIT >> 20} MiB, which is more than any valid answer"
_STATUS_TOO_MUCH = 141
"""The status that a shell reports for a program that was killed by SIGPIPE."""
_BLOCK = 1 << 16
_BEAT = 0.2
"""Seconds between checks for cancellation."""


class TooMuchError(Exception):
    """The output exceeded its size limit; the text says so."""

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
    """Write the request, and read each output until ``ended`` accepts its text or it is closed; return the texts.

    With ``last`` the input is closed after the request. Raises TimeoutError after ``timeout`` seconds, TooMuchError
    if one output exceeds ``limit`` bytes, and KeyboardInterrupt when ``cancelled`` is set.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    texts, rest = [bytearray() for _ in outputs], memoryview(request)
    with selectors.DefaultSelector() as ready:
        if stdin is not None:
            os.set_blocking(stdin.fileno(), False)
            ready.register(stdin, selectors.EVENT_WRITE)
        for output, text in zip(outputs, texts, strict=True):
            ready.register(output, selectors.EVENT_READ, text)
        while ready.get_map():
            for key, _ in ready.select(_select_timeout(deadline, cancelled)):
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
    return texts


def _select_timeout(deadline: float | None, cancelled: threading.Event | None) -> float | None:
    """Return how long to wait for output. Raises TimeoutError and KeyboardInterrupt."""
    if cancelled is not None and cancelled.is_set():
        raise KeyboardInterrupt
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:
        raise TimeoutError
    return left if cancelled is None else _BEAT if left is None else min(left, _BEAT)


def _write(descriptor: int, rest: memoryview) -> int:
    """Write as much as the pipe accepts; return the number of bytes."""
    try:
        return os.write(descriptor, rest)
    except BrokenPipeError:
        return len(rest)  # the outputs contain the reason


def has_line(text: bytearray) -> bool:
    """Return whether the text contains a complete line."""
    return b"\n" in text


def never(_: bytearray) -> bool:
    """Return False: the output ends only when it is closed."""
    return False


def run(
    argv: Sequence[str], *, input: str = "", timeout: float | None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Like ``subprocess.run`` with both outputs captured as text; a command that prints too much gets status 141.

    Raises subprocess.TimeoutExpired.
    """
    result = _run(argv, input=input.encode(), timeout=timeout, **options)
    stdout, stderr = (text.decode(errors="replace") for text in (result.stdout, result.stderr))
    return subprocess.CompletedProcess(argv, result.returncode, stdout, stderr)


def _run(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    timeout: float | None = None,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Like ``subprocess.run``, with the same arguments."""
    stdin = None if input is None else subprocess.PIPE
    with subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, **options) as process, awaited(process):
        outputs = [pipe for pipe in (process.stdout, process.stderr) if pipe]
        try:
            captured = exchange(outputs, never, timeout, stdin=process.stdin, request=input or b"", last=True)
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
    texts = [bytes(captured.pop(0)) if pipe else None for pipe in (process.stdout, process.stderr)]
    return subprocess.CompletedProcess(argv, process.returncode, *texts)


def bind_python_on_whales() -> None:
    """Apply the same output limit to python-on-whales, which has none of its own."""
    from python_on_whales import utils

    vars(utils)["subprocess"] = SimpleNamespace(run=_run, PIPE=subprocess.PIPE)


class Tail:
    """The end of a pipe's output, read in a separate thread so that the writer never blocks."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._buffer = bytearray()
        # A duplicate, so that the owner may close the pipe at any time.
        duplicate = os.fdopen(os.dup(pipe.fileno()), "rb", buffering=0)
        self._thread = threading.Thread(target=self._read, args=(duplicate,), daemon=True)
        self._thread.start()

    def _read(self, duplicate: IO[bytes]) -> None:
        with duplicate:
            while block := duplicate.read(_BLOCK):
                self._buffer += block
                del self._buffer[:-_BLOCK]

    def text(self, seconds: float = 1) -> str:
        """Return the end of the output when the pipe is closed, or after ``seconds``."""
        self._thread.join(seconds)
        return bytes(self._buffer).decode(errors="replace").strip()
