"""The signals to stop: SIGTERM and SIGINT."""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue


class Signals:
    """Receives the signals from its creation on."""

    def __init__(self) -> None:
        # A signal handler interrupts other code, so it may only use what cannot deadlock: SimpleQueue is reentrant.
        self._received: SimpleQueue[None] = SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._received.put(None))

    def told(self, seconds: float) -> bool:
        """Wait for at most this many seconds; return whether a signal came."""
        try:
            self._received.get(timeout=seconds)
        except Empty:
            return False
        return True
