"""Being told to end, by SIGTERM or SIGINT."""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue


class Signals:
    """Hears the signals from the moment that it is made."""

    def __init__(self) -> None:
        # Of all that a signal's handler may use, this cannot block itself.
        self._heard: SimpleQueue[None] = SimpleQueue()
        for sort in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sort, lambda *_: self._heard.put(None))

    def told(self, seconds: float) -> bool:
        """Wait so long at most; return whether a signal came."""
        try:
            self._heard.get(timeout=seconds)
        except Empty:
            return False
        return True
