"""Compare the answers of the new release with those of the old one, to detect a worse release. Pure.

There are two questions: does it return more errors, and is it slower? Each becomes "how many answers out of how many
were bad", and an exact test decides each, so that a few requests are neither overrated nor ignored. The verdict is
"worse" if chance alone would produce the result in fewer than one of a thousand checks (there is a check every second,
so that a bad release is found early), and if at least three answers are bad: a single broken connection can cost
several requests, but the tests assume that requests are independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ppmkit.config.environment import Model, Upgrade
from ppmkit.traffic.counts import Counts

FEW = 3
"""Fewer bad answers than this count as noise."""
_CHANCE = 0.001
_MOST = 0.95
_NAMED = 3
"""Maximum number of routes that an error names."""
_NOTICED_SECONDS = 0.1
"""People perceive faster answers as immediate (Nielsen, Usability Engineering, 1993), so slowdowns below it pass."""


class Sample(Model):
    """The counted answers of one side, and its display name."""

    name: str
    routes: Mapping[str, Counts] = {}
    """By route: the answers that count."""
    within: Mapping[float, int] = {}
    """{seconds: number of answers that came within}; the last bound is infinite. Empty if there are none."""

    @property
    def all(self) -> Counts:
        """The answers of every route together."""
        counts = self.routes.values()
        return Counts(bad=sum(route.bad for route in counts), total=sum(route.total for route in counts))

    @property
    def timed(self) -> int:
        """The number of answers with a known response time."""
        return self.within.get(math.inf, 0)


class Verdict(Model):
    """Whether the new side is worse, and the figures."""

    worse: bool
    said: str


def compare(new: Sample, old: Sample, limits: Upgrade) -> Verdict:
    """Return whether the new side has more errors or is slower than the old one over the same period."""
    if not new.all.total:
        return Verdict(worse=False, said=f"{new.name} had no requests: nothing to judge")
    verdicts = [errors(new, old, limits), latency(new, old, limits)]
    worse = [verdict for verdict in verdicts if verdict.worse]
    return Verdict(worse=bool(worse), said="; ".join(verdict.said for verdict in worse or verdicts))


def errors(new: Sample, old: Sample, limits: Upgrade) -> Verdict:
    """Return whether the new side's error rate is too high, overall or on a single route.

    Each route is also tested by itself. Otherwise a route with few requests could fail completely and go unnoticed
    among the good answers of other routes, which a client can request by the thousand.
    """
    routes = {
        route: counts
        for route, counts in new.routes.items()
        if _fails_more(counts, old.routes.get(route, Counts()), limits, _CHANCE / len(new.routes))
    }
    now, before = new.all, old.all
    share = f" ({100 * now.bad / now.total:.1f} %)" if now.bad else ""
    figures = f"{now.bad:,} of {now.total:,} answers were 5xx{share}"
    summary = f"{new.name}: {figures}, {old.name}: {before.bad:,} of {before.total:,}"
    worst = sorted(routes.items(), key=lambda item: -item[1].bad)[:_NAMED]
    return Verdict(
        worse=bool(routes) or _fails_more(now, before, limits, _CHANCE),
        said="; ".join([summary, *(f"{route}: {counts.bad:,} of {counts.total:,}" for route, counts in worst)]),
    )


def _fails_more(new: Counts, old: Counts, limits: Upgrade, certainty: float) -> bool:
    """Return whether the new error rate is more than ``max_error_ratio`` times the old one.

    If it were exactly that many times as high, each error of either side would belong to the new side with a known
    probability, given the numbers of requests. So the new side's errors are a binomial sample of all errors: the
    conditional test of two rates (Przyborowski and Wilenski, Biometrika 31, 1940). An old side without requests
    counts as ``min_requests`` answers without an error.
    """
    weight = limits.max_error_ratio * new.total
    chance = weight / (weight + max(old.total, limits.min_requests))
    return new.bad >= FEW and _at_least(new.bad, new.bad + old.bad, chance) < certainty


def latency(new: Sample, old: Sample, limits: Upgrade) -> Verdict:
    """Return whether the new side's 95th percentile is more than ``max_latency_ratio`` times the old one's.

    Percentiles are only known to within a bucket, so the question is reversed: do more than 5% of the new side's
    answers exceed that limit? A binomial test decides.
    """
    if min(new.timed, old.timed) < limits.min_requests:
        return Verdict(worse=False, said="too few answers to compare latencies")
    usual = min(bound for bound, count in old.within.items() if count >= _MOST * old.timed)
    allowed = max(limits.max_latency_ratio * usual, _NOTICED_SECONDS)
    bound = min(bound for bound in new.within if bound >= allowed)
    if math.isinf(bound):
        return Verdict(worse=False, said=f"{old.name}: answers take too long to compare latencies")
    slow = new.timed - new.within[bound]
    summary = f"{slow:,} of {new.timed:,} took longer than {_seconds(bound)}"
    return Verdict(
        worse=slow >= FEW and _at_least(slow, new.timed, 1 - _MOST) < _CHANCE,
        said=f"{new.name}: {summary}; {old.name}: 95 % came within {_seconds(usual)}",
    )


def _seconds(bound: float) -> str:
    return f"{bound * 1000:g} ms" if bound < 1 else f"{bound:g} s"


def _at_least(hits: int, trials: int, chance: float) -> float:
    """Return the probability of at least this many hits; 1 if they do not exceed the expected number."""
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
    for count in range(hits, trials + 1):  # above the expected number, each term is smaller than the one before
        total += term
        if term <= total * 1e-12:
            break
        term *= (trials - count) / (count + 1) * chance / (1 - chance)
    return total
