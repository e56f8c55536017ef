"""What goes and what stays, with plain data."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from ppmkit.steward.retention import Item, Policy, judge

NONE = Policy(last=0, daily=0, weekly=0, monthly=0, safety=0, migration=0)
COUNTS = st.integers(0, 6)
POLICIES = st.builds(
    Policy,
    last=COUNTS,
    hourly=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    yearly=COUNTS,
    safety=COUNTS,
    migration=COUNTS,
)
KINDS = st.sampled_from(["manual", "nightly", "safety", "migration"])
TIMES = st.datetimes(datetime(2024, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC))
ITEMS = st.lists(
    st.tuples(TIMES, st.booleans(), st.booleans(), KINDS).map(
        lambda parts: Item(f"{parts[0]:%Y%m%dT%H%M%S%f}", parts[0], parts[1], parts[2], parts[3])
    ),
    unique_by=lambda item: item.id,
    max_size=40,
)


def at(*moments: str) -> list[Item]:
    return [Item(moment, datetime.fromisoformat(moment).replace(tzinfo=UTC)) for moment in moments]


def kept(items: list[Item], policy: Policy) -> set[str]:
    return {verdict.id for verdict in judge(items, policy) if verdict.keep}


def test_the_newest_of_each_of_the_last_days_that_have_one_stays() -> None:
    items = at("2026-03-01T01:00", "2026-03-01T23:00", "2026-03-05T12:00", "2026-03-09T08:00", "2026-03-09T09:00")

    found = judge(items, Policy(last=0, daily=2, weekly=0, monthly=0))

    assert [(verdict.id, verdict.keep) for verdict in found] == [
        ("2026-03-09T09:00", True),
        ("2026-03-09T08:00", False),
        ("2026-03-05T12:00", True),
        ("2026-03-01T23:00", False),
        ("2026-03-01T01:00", False),
    ]
    assert found[0].why == "daily 2026-03-09"
    assert found[1].why == "no rule keeps it"


def test_weeks_are_those_of_iso_and_one_backup_can_stay_for_several_reasons() -> None:
    items = at("2027-01-01T00:00", "2027-01-04T00:00", "2026-12-28T00:00")

    found = judge(items, Policy(last=1, daily=0, weekly=2, monthly=0, yearly=2))

    assert {verdict.id: verdict.why for verdict in found} == {
        "2027-01-04T00:00": "last 1 of 1, weekly 2027 week 01, yearly 2027",
        "2027-01-01T00:00": "weekly 2026 week 53",
        "2026-12-28T00:00": "yearly 2026",
    }


def test_an_hour_that_a_clock_change_repeats_is_two_hours() -> None:
    before, after = (datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=hours))) for hours in (2, 1))
    items = [Item(name, moment.astimezone(UTC)) for name, moment in (("summer", before), ("winter", after))]

    assert kept(items, Policy(last=0, hourly=2, daily=0, weekly=0, monthly=0)) == {"summer", "winter"}


def test_pinned_ones_and_those_of_before_a_restore_or_a_migration_take_no_place_of_others() -> None:
    one, two, *apart = at("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06")
    kinds = ("safety", "migration", "safety", "migration")
    items = [
        one,
        Item(two.id, two.created, pinned=True),
        *(Item(item.id, item.created, kind=kind) for item, kind in zip(apart, kinds, strict=True)),
    ]

    found = judge(items, Policy(last=1, safety=1, migration=1))

    assert {verdict.id: verdict.why for verdict in found if verdict.keep} == {
        one.id: "last 1 of 1",
        two.id: "pinned",
        apart[2].id: "safety 1 of 1",
        apart[3].id: "migration 1 of 1",
    }


@given(ITEMS, POLICIES)
def test_the_last_verified_one_and_pinned_ones_always_stay(items: list[Item], policy: Policy) -> None:
    found = kept(items, policy)

    assert {item.id for item in items if item.pinned} <= found
    verified = [item for item in items if item.verified]
    assert not verified or max(verified, key=lambda item: (item.created, item.id)).id in found


@given(ITEMS, POLICIES)
def test_every_backup_is_judged_once_and_the_order_of_the_list_is_no_matter(items: list[Item], policy: Policy) -> None:
    found = judge(items, policy)

    assert sorted(verdict.id for verdict in found) == sorted(item.id for item in items)
    assert judge(items[::-1], policy) == found
    assert all(verdict.why for verdict in found)


@given(ITEMS, POLICIES, st.sampled_from([field.name for field in fields(Policy)]))
def test_a_policy_that_keeps_more_removes_nothing_else(items: list[Item], policy: Policy, name: str) -> None:
    more = Policy(**{**vars(policy), name: getattr(policy, name) + 1})

    assert kept(items, policy) <= kept(items, more) | {_last_verified(items)}


@given(ITEMS, POLICIES)
def test_pruning_again_removes_nothing(items: list[Item], policy: Policy) -> None:
    found = kept(items, policy)

    assert kept([item for item in items if item.id in found], policy) == found


@given(ITEMS, POLICIES, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_backup_of_a_clock_that_ran_ahead_costs_one_place_of_each_rule_at_most(
    items: list[Item], policy: Policy, ahead: timedelta
) -> None:
    skewed = Item("skewed", datetime(2029, 1, 1, tzinfo=UTC) + ahead)

    lost = kept(items, policy) - kept([*items, skewed], policy)

    assert len(lost) <= 7


@given(ITEMS)
def test_a_policy_that_keeps_nothing_keeps_the_last_verified_one(items: list[Item]) -> None:
    plain = [Item(item.id, item.created, item.verified) for item in items]

    assert kept(plain, NONE) == ({_last_verified(plain)} - {""})


def _last_verified(items: list[Item]) -> str:
    verified = [item for item in items if item.verified]
    return max(verified, key=lambda item: (item.created, item.id)).id if verified else ""
