"""What Traefik's metrics say, and what is made of two readings of them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from deploy.metrics import NOTHING, Counts, Tally, parse

TEXT = """\
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.75e+09
# HELP traefik_service_request_duration_seconds How long it took to process the request.
# TYPE traefik_service_request_duration_seconds histogram
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="api-blue@file",le="0.1"} 180
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="api-blue@file",le="+Inf"} 190
traefik_service_request_duration_seconds_sum{code="200",method="GET",protocol="http",service="api-blue@file"} 8.45
traefik_service_request_duration_seconds_count{code="200",method="GET",protocol="http",service="api-blue@file"} 190
traefik_service_request_duration_seconds_bucket{code="201",method="POST",protocol="http",service="api-blue@file",le="0.1"} 5
traefik_service_request_duration_seconds_bucket{code="201",method="POST",protocol="http",service="api-blue@file",le="+Inf"} 5
traefik_service_request_duration_seconds_bucket{code="502",method="GET",protocol="http",service="api-blue@file",le="0.1"} 3
traefik_service_request_duration_seconds_bucket{code="502",method="GET",protocol="http",service="api-blue@file",le="+Inf"} 3
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="api-green@file",le="0.1"} 1
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="api-green@file",le="+Inf"} 1
# HELP traefik_service_requests_total How many HTTP requests processed.
# TYPE traefik_service_requests_total counter
traefik_service_requests_total{code="200",method="GET",protocol="http",service="api-blue@file"} 190
"""  # noqa: E501 (as Traefik 3.7 writes it)
BLUE = Counts(answers={"2xx": 195, "5xx": 3}, within={0.1: 188, math.inf: 198})


def counts(good: int, bad: int = 0) -> Counts:
    return Counts(answers={"2xx": good, "5xx": bad}, within={0.1: good, math.inf: good + bad})


def test_answers_are_counted_by_service_and_class_whatever_the_method() -> None:
    reading = parse(TEXT)

    assert reading["api-blue"] == BLUE
    assert (reading["api-blue"].total, reading["api-blue"].errors) == (198, 3)
    assert reading["api-green"].total == 1


def test_a_proxy_that_has_not_answered_yet_has_counted_nothing() -> None:
    assert parse("") == {}


def test_what_was_there_before_the_first_reading_does_not_count() -> None:
    tally = Tally()
    tally.add({"api-blue": counts(100, 7)})
    tally.add({"api-blue": counts(130, 9)})

    assert tally.of("api-blue") == counts(30, 2)
    assert tally.of("api-green") == NOTHING


def test_a_proxy_that_restarted_counts_from_zero() -> None:
    tally = Tally({"api-blue": counts(100, 7)})
    tally.add({"api-blue": counts(10, 1)})
    tally.add({"api-blue": counts(15, 1)})

    assert tally.of("api-blue") == counts(15, 1)


def test_a_service_that_the_proxy_forgot_counts_from_zero() -> None:
    tally = Tally({"api-blue": counts(100)})
    tally.add({})
    tally.add({"api-blue": counts(200)})

    assert tally.of("api-blue") == counts(200)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1))
def test_without_a_restart_the_tally_is_the_last_reading_less_the_first(more: list[tuple[int, int]]) -> None:
    tally, good, bad = Tally({"api": counts(40, 2)}), 40, 2
    for some_good, some_bad in more:
        good, bad = good + some_good, bad + some_bad
        tally.add({"api": counts(good, bad)})

    assert tally.of("api") == counts(good - 40, bad - 2)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000))))
def test_whatever_the_proxy_does_no_count_is_negative(readings: list[tuple[int, int]]) -> None:
    tally = Tally()
    for good, bad in readings:
        tally.add({"api": counts(good, bad)})

    found = tally.of("api")
    assert all(count >= 0 for count in (*found.answers.values(), *found.within.values()))
