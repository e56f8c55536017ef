"""How long a copy may take, how fast it may go, and how much the database's WAL may grow meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

from .errors import StewardError

WAL_CAP = 1 << 30
"""Bytes. While a copy's transaction lasts, SQLite cannot reuse what is in the WAL."""
_LOOK_SECONDS = 0.05


class Pace:
    """Asked every few pages; raises StewardError when the copy must end."""

    def __init__(self, source: Path, deadline: float, *, wal_cap: int = WAL_CAP, rate: int | None = None) -> None:
        """``deadline`` in seconds from now, ``rate`` in bytes a second."""
        self._wal = source.with_name(f"{source.name}-wal")
        self._deadline, self._wal_cap, self._rate = deadline, wal_cap, rate
        self._began = self._looked = time.monotonic()
        self._cap_from = self._wal_size()
        self.keep()

    def keep(self, done: int = 0) -> None:
        """Look at the clock and at the WAL; wait when ``done`` bytes are more than the rate allows by now."""
        while (ahead := self._look(done)) > 0:
            time.sleep(min(ahead, 1.0))

    def _look(self, done: int) -> float:
        """Return for how many seconds the rate is exceeded."""
        now = time.monotonic()
        if now - self._began > self._deadline:
            raise StewardError(f"the copy was not done within {self._deadline:g} s")
        if now - self._looked > _LOOK_SECONDS:
            self._looked = now
            if (grown := self._wal_size() - self._cap_from) > self._wal_cap:
                raise StewardError(f"the WAL grew by {grown >> 20} MiB while the copy was made; it was given up")
        return done / self._rate - (now - self._began) if self._rate else 0

    def _wal_size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0
