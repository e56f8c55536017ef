"""When tasks are due, with a clock that is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppmkit.steward.schedule import due, retry, trigger

NIGHT = trigger(["02:30"])
TIMES = st.datetimes(datetime(2024, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC))


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "now", "wanted"),
    [
        (None, "2026-03-10T12:00", "2026-03-10T12:00"),
        ("2026-03-10T02:30", "2026-03-10T12:00", "2026-03-11T02:30"),
        ("2026-03-09T23:00", "2026-03-10T02:29", "2026-03-10T02:30"),
        ("2026-03-10T02:29", "2026-03-10T02:31", "2026-03-10T02:31"),
        ("2026-02-01T02:30", "2026-03-10T12:00", "2026-03-10T12:00"),
        ("2027-01-01T00:00", "2026-03-10T12:00", "2026-03-11T02:30"),
    ],
    ids=["never", "done", "to come", "just missed", "missed many times, done once", "a clock that ran ahead"],
)
def test_what_was_missed_is_due_at_once_and_else_at_the_next_moment(last: str | None, now: str, wanted: str) -> None:
    assert due(NIGHT, at(last) if last else None, at(now)) == at(wanted)


def test_a_day_may_have_several_moments_and_a_week_one() -> None:
    assert due(trigger(["02:30", "14:30"]), at("2026-03-10T03:00"), at("2026-03-10T03:00")) == at("2026-03-10T14:30")
    assert due(trigger(["sun 04:30"]), at("2026-03-10T03:00"), at("2026-03-10T03:00")) == at("2026-03-15T04:30")


@given(TIMES, TIMES)
def test_a_task_is_never_due_in_the_past_nor_later_than_a_day_from_now(last: datetime, now: datetime) -> None:
    assert now <= due(NIGHT, last, now) <= now + timedelta(days=1)


def test_a_failed_task_is_tried_later_each_time_and_within_the_hour() -> None:
    now = at("2026-03-10T12:00")
    waits = [(retry(None, failures, now) - now) // timedelta(minutes=1) for failures in (1, 2, 3, 6, 7, 1000)]

    assert waits == [1, 2, 4, 32, 60, 60]
    assert retry(NIGHT, 7, at("2026-03-10T02:00")) == at("2026-03-10T02:30")
