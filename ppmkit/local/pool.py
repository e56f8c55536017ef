"""Calls that run side by side, in threads that keep nobody: the first Ctrl-C ends the wait for all of them.

The threads of ``ThreadPoolExecutor`` are waited for when its block ends, and again when the process does. A host that
says nothing would keep both waiting, and Ctrl-C is heard by the main thread alone.
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
"""How long interrupted calls may take to remove what they made."""


class Crew:
    """Runs calls side by side. Use as a context manager: at its end all of them have ended, or were interrupted."""

    def __init__(self) -> None:
        self._calls: list[Future[Any]] = []
        self._processes: set[subprocess.Popen[Any]] = set()

    def __enter__(self) -> Crew:
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
        """Begin a call; return its result to come."""
        found: Future[T] = Future()

        def work() -> None:
            _mine.set(self)
            try:
                found.set_result(act(*args, **kwargs))
            except BaseException as error:  # it is raised where the result is asked for
                found.set_exception(error)

        self._calls.append(found)
        Thread(target=work, daemon=True).start()
        return found

    def map(self, act: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
        """Call for each item; return the results in their order. Raises the first error when all calls have ended."""
        found = [self.start(act, item) for item in items]
        wait(found)
        return [call.result() for call in found]

    def _interrupt(self) -> None:
        """End the processes that the calls wait for, and give the calls a moment to tidy up."""
        for process in list(self._processes):
            process.kill()
        wait(self._calls, _TIDY_SECONDS)


_mine: ContextVar[Crew | None] = ContextVar("_mine", default=None)


@contextmanager
def awaited(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Within the block this thread waits for the process: when its crew is interrupted, the process is killed."""
    crew = _mine.get()
    if crew:
        crew._processes.add(process)
    try:
        yield
    finally:
        if crew:
            crew._processes.discard(process)
