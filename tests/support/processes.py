"""Processes and threads that a test starts. Their end is never waited for without a limit."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

SECONDS = 60.0
"""How long the end of anything may take, on a machine that is busy."""


@contextmanager
def running(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a process for as long as the block lasts; one that has not ended by then is killed."""
    process = subprocess.Popen(argv, **options)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process if it still runs, and reap it."""
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    process.wait(SECONDS)


def join(thread: threading.Thread) -> None:
    """Wait for a thread; fail when it does not end."""
    thread.join(SECONDS)
    assert not thread.is_alive(), f"the thread {thread.name} did not end within {SECONDS:g} s"


@contextmanager
def threads(count: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Lend threads for as long as the block lasts; what they were given is done at the end, or the test fails."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False)
        for thread in pool._threads:
            join(thread)
