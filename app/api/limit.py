"""The limit on requests per minute of each caller, whatever addresses they come from; the proxy limits each address.

Each replica counts separately, because a shared count would need a write per request. The proxy spreads requests evenly
over the replicas, so with two replicas, each request counts as two. Together the replicas never allow more than the
limit; a replica that by chance receives more than its part refuses slightly early.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException

MOST_CALLERS = 10_000
"""Maximum number of callers that are remembered. A caller that sent nothing for a minute has its full limit anyway."""


@dataclass(frozen=True)
class Left:
    """The requests that a caller has left."""

    limit: int
    remaining: int
    reset: int
    """Seconds until the caller has its full limit again."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers as in draft-ietf-httpapi-ratelimit-headers-07, in the form that clients support."""
        values = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self.reset}
        return {f"RateLimit-{name}": str(value) for name, value in values.items()}


class Limit:
    """A bucket per caller, which refills evenly, as the proxy's buckets do. Not thread-safe."""

    def __init__(self, per_minute: int, replicas: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._cost = min(replicas, per_minute)  # per request; a limit below the replicas still allows one on each
        self._taken: dict[str, tuple[float, float]] = {}
        """The number of requests that each caller has taken, and when that number was computed."""

    def take(self, caller: str) -> Left:
        """Take a request out of a caller's bucket; return what is left. Raises HTTPException (429) when it is empty."""
        now, per_second = self._clock(), self.per_minute / 60
        taken, at = self._taken.pop(caller, (0.0, now))
        taken = max(0.0, taken - (now - at) * per_second)
        with_this = taken + self._cost
        empty = with_this > self.per_minute
        self._taken[caller] = (taken if empty else with_this), now  # at the end: the first is the least recently used
        if len(self._taken) > MOST_CALLERS:
            del self._taken[next(iter(self._taken))]
        if empty:
            wait = math.ceil((with_this - self.per_minute) / per_second)
            headers = Left(self.per_minute, 0, math.ceil(taken / per_second)).headers | {"Retry-After": str(wait)}
            raise HTTPException(429, f"more than {self.per_minute} requests per minute; retry in {wait} s", headers)
        return Left(self.per_minute, int(self.per_minute - with_this), math.ceil(with_this / per_second))
