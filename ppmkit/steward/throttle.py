"""Limits for copying a live database: duration, speed, and growth of the database's WAL."""

from __future__ import annotations

import time
from pathlib import Path

from .errors import StewardError

WAL_CAP = 1 << 30
"""Bytes. While a copy's transaction lasts, SQLite cannot reuse space in the WAL."""
_LOOK_SECONDS = 0.05


class Pace:
    """Called every few pages; raises StewardError if the copy exceeds a limit."""

    def __init__(self, source: Path, deadline: float, *, wal_cap: int = WAL_CAP, rate: int | None = None) -> None:
        """Start the clock. ``deadline`` is in seconds from now, ``rate`` in bytes per second."""
        self._wal = source.with_name(f"{source.name}-wal")
        self._deadline, self._wal_cap, self._rate = deadline, wal_cap, rate
        self._began = self._looked = time.monotonic()
        self._cap_from = self._wal_size()
        self.keep()

    def keep(self, done: int = 0) -> None:
        """Check the clock and the WAL; wait if ``done`` bytes are more than the rate allows so far."""
        while (ahead := self._look(done)) > 0:
            time.sleep(min(ahead, 1.0))

    def _look(self, done: int) -> float:
        """Return how many seconds the copy is ahead of the allowed rate."""
        now = time.monotonic()
        if now - self._began > self._deadline:
            raise StewardError(f"the copy did not finish within {self._deadline:g} s")
        if now - self._looked > _LOOK_SECONDS:
            self._looked = now
            if (grown := self._wal_size() - self._cap_from) > self._wal_cap:
                raise StewardError(f"the WAL grew by {grown >> 20} MiB during the copy, so the copy was aborted")
        return done / self._rate - (now - self._began) if self._rate else 0

    def _wal_size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0
