"""The end of a process, which comes in time whatever still runs in it.

A task may swallow its cancellation: on Python 3.11 `asyncio.wait_for` does, when what it waits for ends at the same
moment (https://github.com/python/cpython/issues/86296). A thread cannot be cancelled at all.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
from typing import Any, NoReturn

CANCEL_SECONDS = 1.0
"""How long a task may take to end after each of its two cancellations."""
LAST_SECONDS = 1.0
"""How long what is to be done at the end may take."""
log = logging.getLogger(__name__)


async def cancel(*tasks: asyncio.Task[Any]) -> set[asyncio.Task[Any]]:
    """Cancel tasks, and those that go on once more. Return the tasks that still go on; the log has named them."""
    running = set(tasks)
    for _ in range(2):
        for task in running:
            task.cancel()
        if running:
            _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)
    for task in running:
        log.error("the task %s goes on although it was cancelled twice: it is left behind", task.get_name())
    return running


def leave_within(seconds: float) -> None:
    """End this process with status 1 if it still runs after so many seconds; the log then names its threads."""
    timer = threading.Timer(seconds, _leave_late, [seconds])
    timer.daemon = True
    timer.start()


def leave() -> NoReturn:
    """End this process with status 1, now: Python itself would wait for every task and thread."""
    last = threading.Thread(target=atexit._run_exitfuncs, daemon=True)  # the log is written to its end by one of them
    last.start()
    last.join(LAST_SECONDS)
    os._exit(1)


def _leave_late(seconds: float) -> None:
    frames = sys._current_frames()
    names = [
        f"{thread.name} in {frames[thread.ident].f_code.co_qualname}"
        for thread in threading.enumerate()
        if thread.ident in frames and thread is not threading.current_thread()
    ]
    log.error(
        "not done %g s after the signal to end; it leaves now. Threads that still run: %s", seconds, ", ".join(names)
    )
    leave()
