"""When a new release counts as worse than the old one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppmkit.config.environment import Upgrade
from ppmkit.traffic.comparison import Sample, Verdict, _at_least, compare, errors
from ppmkit.traffic.counts import Counts

LIMITS = Upgrade()
BOUNDS = (0.005, 0.025, 0.1, 0.25, 1.0, math.inf)


ROUTE = "GET /api/projects"
NOTHING = Sample(name="")


def counts(bad: int, total: int, slow: int = 0, usual: float = 0.005, slower: float = 1.0) -> Sample:
    """Return answers of which some are errors, and some took ``slower`` in place of ``usual`` seconds."""
    within = {bound: (total - slow) * (usual <= bound) + slow * (slower <= bound) for bound in BOUNDS}
    return Sample(name="", routes={ROUTE: Counts(bad=bad, total=total)}, within=within)


def verdict(new: Sample, old: Sample, limits: Upgrade = LIMITS) -> Verdict:
    named = old.model_copy(update={"name": "blue in the same 30 s"})
    return compare(new.model_copy(update={"name": "green"}), named, limits)


def by_route(**routes: tuple[int, int]) -> Sample:
    return Sample(name="", routes={name: Counts(bad=bad, total=total) for name, (bad, total) in routes.items()})


def test_the_figures_are_in_words() -> None:
    found = verdict(counts(12, 240), counts(0, 4512))

    assert found.worse
    assert found.said == (
        "green: 12 of 240 answers were 5xx (5.0 %), blue in the same 30 s: 0 of 4,512; GET /api/projects: 12 of 240"
    )


def test_without_requests_there_is_nothing_to_judge() -> None:
    assert verdict(NOTHING, counts(0, 100)) == Verdict(worse=False, said="green had no requests: nothing to judge")


@pytest.mark.parametrize(
    ("new", "old", "worse"),
    [
        ((1, 3), (0, 4512), False),  # one broken connection is no proof, however small its chance
        ((2, 10), (0, 190), False),
        ((3, 3), (0, 57), True),  # but a release that answers nothing else is bad after three
        ((3, 10), (0, 190), True),
        ((10, 50), (0, 700), True),
        ((10, 50), (140, 700), False),  # both are bad: not the release's fault
        ((60, 600), (20, 600), False),  # three times as many may be chance where twice is allowed
        ((60, 600), (2, 600), True),
        ((12, 30), (0, 0), True),  # nobody came before
        ((25, 2500), (0, 5000), True),  # one in a hundred, at 500 requests a second
        ((50, 5000), (0, 5000), True),
        ((50, 5000), (50, 5000), False),
        ((5, 100), (0, 0), False),
    ],
)
def test_errors_are_compared_as_shares_with_regard_to_chance(
    new: tuple[int, int], old: tuple[int, int], worse: bool
) -> None:
    assert verdict(counts(*new), counts(*old)).worse is worse


@pytest.mark.parametrize(
    ("new", "old", "worse"),
    [
        # Of all requests it is less than one in a hundred; on its route it is every one.
        (by_route(get=(0, 1000), post=(8, 8)), by_route(get=(0, 1000), post=(0, 8)), True),
        (by_route(get=(0, 100_000), post=(8, 8)), by_route(get=(0, 1000), post=(0, 8)), True),  # a flood of good ones
        (by_route(get=(0, 1000), post=(4, 8)), by_route(get=(0, 1000), post=(4, 8)), False),
        # No route is bad for certain, all together are.
        (by_route(a=(2, 30), b=(2, 30), c=(2, 30), d=(2, 30)), by_route(a=(0, 500)), True),
        (by_route(a=(2, 30)), by_route(a=(0, 500)), False),
        (by_route(), by_route(), False),
    ],
)
def test_a_route_that_fails_is_found_among_others_that_do_not(new: Sample, old: Sample, worse: bool) -> None:
    assert errors(new, old, LIMITS).worse is worse


def test_the_routes_that_fail_most_are_named() -> None:
    new = by_route(a=(9, 9), b=(30, 40), c=(0, 9), d=(10, 10), e=(11, 11))

    assert errors(new, by_route(), LIMITS).said.endswith("; b: 30 of 40; e: 11 of 11; d: 10 of 10")


@pytest.mark.parametrize(
    ("new", "old", "worse"),
    [
        (counts(0, 100, slow=20), counts(0, 1000), True),
        (counts(0, 100, slow=5), counts(0, 1000), False),
        (counts(0, 100, slow=100, slower=0.1), counts(0, 1000), False),  # 20 times as long, and nobody notices
        (counts(0, 100, slow=100, slower=0.25), counts(0, 1000, usual=0.1), False),  # 2.5 times as long
        (counts(0, 100, slow=100), counts(0, 1000, usual=0.1), False),  # known to a bucket only: it may be 2.5 times
        (counts(0, 100, slow=100, slower=math.inf), counts(0, 1000, usual=0.1), True),
        (counts(0, 100, slow=100, slower=math.inf), counts(0, 1000, usual=1), False),  # no bucket tells
        (counts(0, 20, slow=20), counts(0, 1000), False),
        (counts(0, 1000, slow=1000), counts(0, 20), False),
    ],
)
def test_latencies_are_compared_where_people_would_notice(new: Sample, old: Sample, worse: bool) -> None:
    assert verdict(new, old).worse is worse


def test_a_slow_release_is_told_by_its_figures() -> None:
    said = verdict(counts(0, 100, slow=20), counts(0, 1000)).said

    assert said == "green: 20 of 100 took longer than 100 ms; blue in the same 30 s: 95 % came within 5 ms"


LOAD = st.integers(0, 3000)
RATIO = st.floats(1, 10).map(lambda ratio: Upgrade(max_error_ratio=ratio, max_latency_ratio=ratio))


@st.composite
def some(draw: st.DrawFn) -> tuple[int, int, int]:
    """Return (errors, answers, slow ones)."""
    total = draw(LOAD)
    return draw(st.integers(0, total)), total, draw(st.integers(0, total))


@given(some(), RATIO)
def test_two_releases_that_do_the_same_are_never_told_apart(same: tuple[int, int, int], limits: Upgrade) -> None:
    assert not verdict(counts(*same), counts(*same), limits).worse


@given(some(), some(), RATIO, st.data())
def test_worse_answers_never_make_a_better_verdict(
    new: tuple[int, int, int], old: tuple[int, int, int], limits: Upgrade, data: st.DataObject
) -> None:
    bad, total, slow = new
    worse = (data.draw(st.integers(bad, total)), total, data.draw(st.integers(slow, total)))

    assert verdict(counts(*worse), counts(*old), limits).worse >= verdict(counts(*new), counts(*old), limits).worse


@given(some(), some(), RATIO, st.data())
def test_an_old_release_that_does_worse_never_makes_the_new_one_look_worse(
    new: tuple[int, int, int], old: tuple[int, int, int], limits: Upgrade, data: st.DataObject
) -> None:
    bad, total, slow = old
    worse = (data.draw(st.integers(bad, total)), total, data.draw(st.integers(slow, total)))

    assert verdict(counts(*new), counts(*worse), limits).worse <= verdict(counts(*new), counts(*old), limits).worse


@given(some(), some(), st.floats(1, 10), st.floats(0, 10))
def test_a_larger_ratio_is_never_stricter(
    new: tuple[int, int, int], old: tuple[int, int, int], ratio: float, more: float
) -> None:
    strict, mild = (Upgrade(max_error_ratio=r, max_latency_ratio=r) for r in (ratio, ratio + more))

    assert verdict(counts(*new), counts(*old), mild).worse <= verdict(counts(*new), counts(*old), strict).worse


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.data())
def test_the_chance_of_so_many_hits_or_more_is_the_sum_of_the_binomial_terms(
    trials: int, chance: float, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, trials))
    terms = (math.comb(trials, n) * chance**n * (1 - chance) ** (trials - n) for n in range(hits, trials + 1))

    expected = 1.0 if hits <= trials * chance else math.fsum(terms)
    assert math.isclose(_at_least(hits, trials, chance), expected, rel_tol=1e-9)
