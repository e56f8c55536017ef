"""How many requests one caller may send in a minute, from however many addresses; the proxy limits each address.

Each replica counts for itself, since a count that all of them share would be a write for each request. The proxy sends
each the same part of the requests, so to one of two, a request stands for two. All together never let more through;
one whose part was larger by chance refuses a little early.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException

MOST_CALLERS = 10_000
"""That are remembered; whoever sent nothing for a minute has all of theirs anyway."""


@dataclass(frozen=True)
class Left:
    """What a caller has left."""

    limit: int
    remaining: int
    reset: int
    """Seconds until they have all of it again."""

    @property
    def headers(self) -> dict[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers-07, in the form that clients know."""
        values = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self.reset}
        return {f"RateLimit-{name}": str(value) for name, value in values.items()}


class Limit:
    """A bucket for each caller, which fills evenly, as the proxy's do. For one thread alone."""

    def __init__(self, per_minute: int, replicas: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._cost = min(replicas, per_minute)  # of a request; with fewer requests than replicas, each lets one through
        self._taken: dict[str, tuple[float, float]] = {}
        """How many were taken out, and when that was."""

    def take(self, caller: str) -> Left:
        """Take a request out of a caller's bucket; return what is left. Raises HTTPException (429) when it is empty."""
        now, per_second = self._clock(), self.per_minute / 60
        taken, at = self._taken.pop(caller, (0.0, now))
        taken = max(0.0, taken - (now - at) * per_second)
        with_this = taken + self._cost
        empty = with_this > self.per_minute
        self._taken[caller] = (taken if empty else with_this), now  # at the end: the first is the longest unused
        if len(self._taken) > MOST_CALLERS:
            del self._taken[next(iter(self._taken))]
        if empty:
            wait = math.ceil((with_this - self.per_minute) / per_second)
            headers = Left(self.per_minute, 0, math.ceil(taken / per_second)).headers | {"Retry-After": str(wait)}
            raise HTTPException(429, f"more than {self.per_minute} requests a minute; wait {wait} s", headers)
        return Left(self.per_minute, int(self.per_minute - with_this), math.ceil(with_this / per_second))
