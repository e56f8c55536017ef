"""Whether the new release does worse than the old one, from how both answered users. Pure.

The questions are two: does it answer with more errors, and is it slower? Each becomes "how many answers were bad,
of how many", and each is answered by an exact test, so that a few requests are neither taken for a proof nor passed
over. An answer is "worse" when chance alone would show it less than once in a thousand looks (there is a look every
second, so that a bad release is found in its first ones), and when there are at least three bad ones: the requests
that a single broken connection costs are not independent of each other, which is what the tests suppose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ppmkit.config.environment import Model, Upgrade
from ppmkit.traffic.counts import Counts

FEW = 3
"""Fewer bad answers than this are nobody's fault."""
_CHANCE = 0.001
_MOST = 0.95
_NAMED = 3
"""Routes that an error names."""
_NOTICED_SECONDS = 0.1
"""What takes no longer seems immediate to people (Nielsen, Usability Engineering, 1993), however much faster it was."""


class Seen(Model):
    """What was counted of one side, and what to call it."""

    name: str
    routes: Mapping[str, Counts] = {}
    """By route: the answers that count."""
    within: Mapping[float, int] = {}
    """{seconds: how many answers came within}; the last bound is infinite. Empty: there are none."""

    @property
    def all(self) -> Counts:
        """The answers of every route together."""
        counts = self.routes.values()
        return Counts(bad=sum(route.bad for route in counts), total=sum(route.total for route in counts))

    @property
    def timed(self) -> int:
        """How many answers have a known time."""
        return self.within.get(math.inf, 0)


class Verdict(Model):
    """Whether the new side is worse, and the figures that say so."""

    worse: bool
    said: str


def judge(new: Seen, old: Seen, limits: Upgrade) -> Verdict:
    """Return whether the new side has more errors or is slower than the old one, beside it at the same time."""
    if not new.all.total:
        return Verdict(worse=False, said=f"{new.name} had no requests: nothing to judge")
    verdicts = [errors(new, old, limits), latency(new, old, limits)]
    worse = [verdict for verdict in verdicts if verdict.worse]
    return Verdict(worse=bool(worse), said="; ".join(verdict.said for verdict in worse or verdicts))


def errors(new: Seen, old: Seen, limits: Upgrade) -> Verdict:
    """Return whether the new side's share of errors is too high, of all its answers or of those on one route.

    Each route is judged by itself too: a route with few requests may fail altogether and be lost among the good answers
    on the others, and a client can ask for those by the thousand.
    """
    routes = {
        route: counts
        for route, counts in new.routes.items()
        if _fails_more(counts, old.routes.get(route, Counts()), limits, _CHANCE / len(new.routes))
    }
    now, before = new.all, old.all
    share = f" ({100 * now.bad / now.total:.1f} %)" if now.bad else ""
    figures = f"{now.bad:,} of {now.total:,} answers were 5xx{share}"
    said = f"{new.name}: {figures}, {old.name}: {before.bad:,} of {before.total:,}"
    worst = sorted(routes.items(), key=lambda item: -item[1].bad)[:_NAMED]
    return Verdict(
        worse=bool(routes) or _fails_more(now, before, limits, _CHANCE),
        said="; ".join([said, *(f"{route}: {counts.bad:,} of {counts.total:,}" for route, counts in worst)]),
    )


def _fails_more(new: Counts, old: Counts, limits: Upgrade, certainty: float) -> bool:
    """Return whether the new share of errors is more than ``max_error_ratio`` times the old one.

    Were it that many times as high, each of the errors of both sides would be one of the new side with a known
    chance, by the numbers of their requests. So the new side's errors are a binomial sample of all errors: the
    conditional test of two rates (Przyborowski and Wilenski, Biometrika 31, 1940). An old side without requests
    counts as one that answered ``min_requests`` without an error.
    """
    weight = limits.max_error_ratio * new.total
    chance = weight / (weight + max(old.total, limits.min_requests))
    return new.bad >= FEW and _at_least(new.bad, new.bad + old.bad, chance) < certainty


def latency(new: Seen, old: Seen, limits: Upgrade) -> Verdict:
    """Return whether the new side's 95th percentile is more than ``max_latency_ratio`` times the old one's.

    Percentiles are known to a bound of the counts, so it is the other way round: of the new side, is
    the share of answers above that limit more than 5 %? A binomial test tells.
    """
    if min(new.timed, old.timed) < limits.min_requests:
        return Verdict(worse=False, said="too few answers to compare latencies")
    usual = min(bound for bound, count in old.within.items() if count >= _MOST * old.timed)
    allowed = max(limits.max_latency_ratio * usual, _NOTICED_SECONDS)
    bound = min(bound for bound in new.within if bound >= allowed)
    if math.isinf(bound):
        return Verdict(worse=False, said=f"{old.name}: answers take too long to compare latencies")
    slow = new.timed - new.within[bound]
    said = f"{slow:,} of {new.timed:,} took longer than {_seconds(bound)}"
    return Verdict(
        worse=slow >= FEW and _at_least(slow, new.timed, 1 - _MOST) < _CHANCE,
        said=f"{new.name}: {said}; {old.name}: 95 % came within {_seconds(usual)}",
    )


def _seconds(bound: float) -> str:
    return f"{bound * 1000:g} ms" if bound < 1 else f"{bound:g} s"


def _at_least(hits: int, trials: int, chance: float) -> float:
    """Return how likely so many hits or more are; 1 when they are no more than is to be expected."""
    if hits <= trials * chance:
        return 1.0
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(trials - hits + 1)
        + hits * math.log(chance)
        + (trials - hits) * math.log1p(-chance)
    )
    total = 0.0
    for count in range(hits, trials + 1):  # beyond what is to be expected, each term is smaller than the one before
        total += term
        if term <= total * 1e-12:
            break
        term *= (trials - count) / (count + 1) * chance / (1 - chance)
    return total
