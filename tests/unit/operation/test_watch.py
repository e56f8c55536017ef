"""From lines of the access log to what is said of a release."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppmkit.config.environment import Upgrade as Limits
from ppmkit.errors import CommandFailed, HostUnreachable, PpmctlError
from ppmkit.operation import watch
from ppmkit.operation.findings import Findings
from ppmkit.traffic.access_log import Answer, parse
from ppmkit.traffic.comparison import Sample, errors
from ppmkit.traffic.counts import Routes, Traffic, counting
from tests.unit.traffic.test_access_log import DATE, HTTP2, line

GOOD = (line(**DATE), line(201, 30, 30, **DATE))
BAD = (line(500, **DATE), line(500, 30, 30, **DATE))
NUISANCES = (
    line(500, RequestMethod="POST"),
    line(500, 3),
    line(504, 6, 30, ms=3_001),
    line(499, 3, 30),
    line(502, 3, 30, ms=301),
    line(502, RequestMethod="POST", ms=302),
    line(502, 163_838),
    line(502, 1, 30, ms=50, **HTTP2),
    line(413, 0, 2_000_000),
    line(404, **DATE, RequestPath="/api/../etc"),
    line(500, **DATE, RequestPath="/api/not-known"),
)


def answers(*lines: str) -> list[Answer]:
    return [answer for each in lines if (answer := parse(each))]


def traffic(*lines: str) -> Traffic:
    found = Traffic()
    found.add(answers(*lines))
    return found


def verdict(after: Traffic, history: Routes) -> tuple[bool, str]:
    new = watch.side("green", after, "api-green", history)
    found = errors(new, Sample(name="blue before", routes=counting(history, history)), Limits())
    return found.worse, found.said


@given(st.lists(st.sampled_from(NUISANCES), max_size=300), st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))
def test_nothing_that_a_client_does_wrong_changes_what_is_said_of_a_release(
    wrong: list[str], good: int, bad: int, before: int
) -> None:
    history = traffic(*GOOD * before).of("api-green")

    assert verdict(traffic(*GOOD * good, *BAD * bad, *wrong), history) == verdict(
        traffic(*GOOD * good, *BAD * bad), history
    )


def test_a_release_that_fails_on_post_alone_is_worse_whatever_else_is_asked_for() -> None:
    history = traffic(*GOOD * 50).of("api-green")

    assert verdict(traffic(*GOOD[:1] * 5_000, *BAD[1:] * 8), history) == (
        True,
        "green: 8 of 5,008 answers were 5xx (0.2 %), blue before: 0 of 100; POST /api/projects: 8 of 8",
    )


def operation(log: Any, before: Traffic) -> Any:
    return SimpleNamespace(log=log, traffic=before, host=None, findings=Findings(watched="2026-11-29T13:42:16Z"))


def test_what_failed_in_a_hold_is_told_by_what_was_answered_well_before() -> None:
    log = SimpleNamespace(read=lambda *_: answers(*GOOD * 9, *BAD * 2, *NUISANCES[:2], line(0)))

    assert watch.failures(operation(log, traffic(*GOOD * 9))) == (
        "4 of 22 answers of the api were 5xx; not counted: 2 malformed requests, 1 abandoned by their clients"
    )


def test_nothing_is_told_of_a_hold_in_which_nothing_failed() -> None:
    assert watch.failures(operation(SimpleNamespace(read=lambda *_: answers(*GOOD)), Traffic())) == ""


def failing(error: PpmctlError) -> Any:
    def read(*_: Any) -> list[Answer]:
        raise error

    return SimpleNamespace(read=read)


def test_a_hold_that_went_well_is_not_undone_for_a_log_that_cannot_be_read() -> None:
    said = watch.failures(operation(failing(CommandFailed("web-1: it did not end within 30 s")), Traffic()))

    assert said == "failed requests could not be counted: web-1: it did not end within 30 s"
    with pytest.raises(HostUnreachable):
        watch.failures(operation(failing(HostUnreachable("web-1: the SSH connection was lost")), Traffic()))
