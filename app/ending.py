"""Ending a process in time, whatever is still running in it.

A task may swallow its cancellation: on Python 3.11 `asyncio.wait_for` does, when the awaitable ends at the same moment
(https://github.com/python/cpython/issues/86296). A thread cannot be canceled at all.
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
"""How long the exit handlers may take."""
log = logging.getLogger(__name__)


async def cancel(*tasks: asyncio.Task[Any]) -> set[asyncio.Task[Any]]:
    """Cancel tasks, and cancel those that keep running a second time. Return and log the tasks that still run."""
    running = set(tasks)
    for _ in range(2):
        for task in running:
            task.cancel()
        if running:
            _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)
    for task in running:
        log.error("the task %s keeps running although it was canceled twice: it is abandoned", task.get_name())
    return running


def leave_within(seconds: float) -> None:
    """End this process with status 1 if it still runs after this many seconds; the log then names its threads."""
    timer = threading.Timer(seconds, _leave_late, [seconds])
    timer.daemon = True
    timer.start()


def leave() -> NoReturn:
    """End this process with status 1 at once: Python itself would wait for every task and thread."""
    last = threading.Thread(target=atexit._run_exitfuncs, daemon=True)  # one of them writes the rest of the log
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
        "still running %g s after the signal to stop; exiting now. Running threads: %s", seconds, ", ".join(names)
    )
    leave()
