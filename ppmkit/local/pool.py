"""Thread pool for parallel calls that never blocks an exit: the first Ctrl-C ends the wait for all of them.

``ThreadPoolExecutor`` waits for its threads at the end of its block and again at process exit. An unresponsive host
would block both, and only the main thread receives Ctrl-C.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
_TIDY_SECONDS = 1.0
"""Time limit for interrupted calls to clean up."""


class Pool:
    """Runs calls in parallel. Use as a context manager: when it exits, all calls have finished or were interrupted."""

    def __init__(self) -> None:
        self._calls: list[Future[Any]] = []
        self._processes: set[subprocess.Popen[Any]] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        try:
            if not interrupted:
                wait(self._calls)
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if interrupted:
                self._interrupt()

    def start(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a call; return its future."""
        future: Future[T] = Future()

        def work() -> None:
            _current.set(self)
            try:
                future.set_result(act(*args, **kwargs))
            except BaseException as error:  # result() raises it
                future.set_exception(error)

        self._calls.append(future)
        Thread(target=work, daemon=True).start()
        return future

    def map(self, act: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
        """Call for each item; return the results in order. Raises the first error after all calls have finished."""
        calls = [self.start(act, item) for item in items]
        wait(calls)
        return [call.result() for call in calls]

    def _interrupt(self) -> None:
        """Kill the processes that the calls wait for, and give the calls a moment to clean up."""
        for process in list(self._processes):
            process.kill()
        wait(self._calls, _TIDY_SECONDS)


_current: ContextVar[Pool | None] = ContextVar("_current", default=None)


@contextmanager
def awaited(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Register a process that this thread waits for in the block: it is killed if the thread's pool is interrupted."""
    pool = _current.get()
    if pool:
        pool._processes.add(process)
    try:
        yield
    finally:
        if pool:
            pool._processes.discard(process)
