"""Which answers tell a new release from the old one."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ppmkit.traffic.access_log import Answer, Kind
from ppmkit.traffic.counts import BOUNDS, Counts, Traffic, counting, left_out

POST, GET = "POST /api/projects", "GET /api/projects"


def traffic(*answers: tuple[str, Kind, int], service: str = "api-blue", seconds: float | None = None) -> Traffic:
    found = Traffic()
    found.add([Answer(service, route, kind, seconds) for route, kind, count in answers for _ in range(count)])
    return found


def routes(*answers: tuple[str, Kind, int]) -> dict[str, Counts]:
    """Return what counts of a release's answers, where both routes were answered well before."""
    return counting(traffic(*answers).of("api-blue"), traffic((POST, "well", 9), (GET, "well", 9)).of("api-blue"))


def test_failures_count_on_a_route_that_was_answered_well_before() -> None:
    assert routes((POST, "failed", 3), (POST, "well", 1)) == {POST: Counts(bad=3, total=4)}


def test_what_clients_spoil_or_are_refused_counts_for_nothing() -> None:
    spoiled: tuple[Kind, ...] = ("malformed", "slow", "abandoned", "broken", "refused")

    assert routes(*((POST, kind, 50) for kind in spoiled), (GET, "well", 2)) == {GET: Counts(bad=0, total=2)}


def test_a_route_that_failed_before_or_is_new_does_not_count_and_is_reported() -> None:
    before = traffic(("GET /api/bad", "failed", 9), ("GET /api/bad", "well", 9), (GET, "well", 1)).of("api-blue")
    after = traffic(("GET /api/bad", "failed", 20), ("GET /api/new", "failed", 4), (GET, "malformed", 2)).of("api-blue")

    assert counting(after, before) == {}
    assert left_out(after, before) == (
        "not counted: 20 5xx on routes that failed before too, 4 5xx on routes without a good answer before, "
        "2 malformed requests"
    )


def test_nothing_is_said_of_what_is_not_there() -> None:
    before = traffic((GET, "well", 1)).of("api-blue")

    assert left_out(traffic((GET, "well", 5), (GET, "failed", 5), (POST, "refused", 5)).of("api-blue"), before) == ""


def test_services_are_told_apart_and_can_be_taken_together() -> None:
    found = traffic((GET, "well", 1))
    found.add([Answer("api-green", GET, "failed", None)])

    assert found.of("api-green") == {GET: {"failed": 1}}
    assert found.of("api-blue", "api-green") == {GET: {"well": 1, "failed": 1}}
    assert found.of("frontend-blue") == {}


def test_times_are_counted_up_to_each_bound_where_they_are_known() -> None:
    found = traffic((GET, "well", 3), seconds=0.03)
    found.add([Answer("api-blue", GET, "well", None), Answer("api-blue", GET, "well", 11.0)])

    within = found.within("api-blue")
    assert tuple(within) == BOUNDS
    assert (within[0.025], within[0.05], within[10], within[math.inf]) == (0, 3, 3, 4)
    assert found.within("api-green") == {}


def test_invented_paths_take_no_place_from_routes_with_more_requests() -> None:
    found = traffic(*((f"GET /{'a' * number}", "well", 1) for number in range(1, 3_000)), (GET, "well", 2))

    known = found.of("api-blue")
    assert len(known) == 1_000
    assert known[GET] == {"well": 2}


@given(
    st.lists(st.tuples(st.sampled_from([POST, GET]), st.sampled_from(["well", "failed", "slow"]), st.integers(1, 9)))
)
def test_no_answer_is_lost_or_counted_twice(answers: list[tuple[str, Kind, int]]) -> None:
    found = traffic(*answers).of("api-blue")

    assert sum(sum(kinds.values()) for kinds in found.values()) == sum(count for _, _, count in answers)
