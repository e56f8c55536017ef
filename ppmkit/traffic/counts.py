"""Count the outcomes of users' requests by route, and select those that can tell two releases apart. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ppmkit.config.environment import Model
from ppmkit.traffic.access_log import Answer, Kind

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, math.inf)
"""Upper bounds of the response time buckets, in seconds."""
_MOST_ROUTES = 1_000
"""Maximum routes per service: a client that invents paths must not fill the memory."""
_WORDS: dict[Kind, str] = {
    "malformed": "malformed requests",
    "slow": "bodies that came too slowly or not whole",
    "abandoned": "abandoned by their clients",
    "broken": "broken off while a body may have been under way",
}
Routes = Mapping[str, Counter[Kind]]


class Counts(Model):
    """Answers that count."""

    bad: int = 0
    """5xx."""
    total: int = 0


@dataclass
class Traffic:
    """All answers, counted by service and route."""

    _routes: dict[str, dict[str, Counter[Kind]]] = field(default_factory=lambda: defaultdict(dict))
    _within: dict[str, Counter[float]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, answers: Sequence[Answer]) -> None:
        """Add answers to the counts. If there are too many routes, the most requested ones take precedence."""
        counted = Counter((answer.service, answer.route, answer.kind) for answer in answers)
        for (service, route, kind), count in counted.most_common():
            routes = self._routes[service]
            if route in routes or len(routes) < _MOST_ROUTES:
                routes.setdefault(route, Counter())[kind] += count
        for answer in answers:
            if answer.seconds is not None:
                self._within[answer.service].update(bound for bound in BOUNDS if answer.seconds <= bound)

    def of(self, *services: str) -> Routes:
        """Return {route: outcomes of its answers} of the given services combined."""
        combined: dict[str, Counter[Kind]] = defaultdict(Counter)
        for service in services:
            for route, kinds in self._routes.get(service, {}).items():
                combined[route] += kinds
        return combined

    def within(self, service: str) -> dict[float, int]:
        """Return {seconds: number of answers that came within}; empty if there are none."""
        counts = self._within.get(service)
        return {bound: counts[bound] for bound in BOUNDS} if counts else {}


def counting(routes: Routes, history: Routes) -> dict[str, Counts]:
    """Return the answers that count, by route: only routes whose earlier answers were mostly good."""
    return {
        route: Counts(bad=kinds["failed"], total=kinds["failed"] + kinds["well"])
        for route, kinds in routes.items()
        if _was_fine(history.get(route)) and kinds["failed"] + kinds["well"]
    }


def left_out(routes: Routes, history: Routes) -> str:
    """Return a description of the answers that do not count, and why; empty if there are none."""
    every = sum(routes.values(), Counter[Kind]())
    others = {route: kinds["failed"] for route, kinds in routes.items() if not _was_fine(history.get(route))}
    known = sum(count for route, count in others.items() if history.get(route, Counter())["failed"])
    new = sum(others.values()) - known
    counts = [
        (known, "5xx on routes that failed before too"),
        (new, "5xx on routes without a good answer before"),
    ]
    counts += [(every[kind], words) for kind, words in _WORDS.items()]
    parts = [f"{count:,} {words}" for count, words in counts if count]
    return f"not counted: {', '.join(parts)}" if parts else ""


def _was_fine(kinds: Counter[Kind] | None) -> bool:
    return kinds is not None and kinds["well"] > kinds["failed"]
