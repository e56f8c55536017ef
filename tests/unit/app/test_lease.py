"""Leases: one worker has each, whatever the clock says."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.database import Database
from app.models import Lease, now
from app.worker.lease import LEASE, LeaseLost, Leases
from tests.support.processes import threads

JOB = "scan"


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def first(database: Database) -> Leases:
    return Leases(database, "first")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def second(database: Database, clock: Clock) -> Leases:
    return Leases(database, "second", clock)


def set_end(database: Database, *, seconds_ahead: float) -> None:
    """Move the end of the lease, as a jump of the clock would."""
    with database.write() as session:
        session.execute(update(Lease).values(expires_at=now() + timedelta(seconds=seconds_ahead)))


def renew(leases: Leases) -> None:
    with leases.database.write() as session:
        leases.renew(session)


def write(leases: Leases) -> None:
    with leases.database.write() as session:
        leases.check(session, JOB)


def test_two_workers_never_have_a_lease_at_once(first: Leases, second: Leases) -> None:
    assert first.take(JOB)
    assert not second.take(JOB)
    assert first.take(JOB)
    assert (first.holds(JOB), second.holds(JOB)) == (True, False)


@pytest.mark.parametrize("ran_out", [False, True])
def test_of_workers_that_reach_for_a_lease_at_once_one_gets_it(
    database: Database, first: Leases, ran_out: bool
) -> None:
    if ran_out:
        first.take(JOB)
        set_end(database, seconds_ahead=-1)
    together = threading.Barrier(4)

    def reach(number: int) -> bool:
        together.wait(10)
        return Leases(database, f"w{number}").take(JOB)

    with threads() as pool:
        assert sorted(pool.map(reach, range(4))) == [False, False, False, True]


def test_each_job_has_a_lease_of_its_own(first: Leases, second: Leases) -> None:
    assert first.take(JOB)
    assert second.take("clean")


def test_a_lease_that_is_given_back_can_be_had_at_once(first: Leases, second: Leases) -> None:
    first.take(JOB)
    second.give_back(JOB)
    assert not second.take(JOB)

    first.give_back(JOB)

    assert second.take(JOB)


def test_a_lease_that_ran_out_can_be_taken_and_who_had_it_cannot_write(
    database: Database, first: Leases, second: Leases
) -> None:
    first.take(JOB)
    set_end(database, seconds_ahead=-1)
    assert second.take(JOB)

    assert not first.take(JOB)
    with pytest.raises(LeaseLost):
        write(first)
    write(second)


def test_who_had_it_cannot_write_after_it_was_given_back_by_another(
    database: Database, first: Leases, second: Leases
) -> None:
    first.take(JOB)
    set_end(database, seconds_ahead=-1)
    second.take(JOB)
    second.give_back(JOB)

    with pytest.raises(LeaseLost):
        write(first)


def test_a_clock_that_jumps_ahead_takes_nothing_from_a_worker_that_is_alone(database: Database, first: Leases) -> None:
    first.take(JOB)
    set_end(database, seconds_ahead=-3600)

    write(first)
    renew(first)

    with database.read() as session:
        assert session.scalars(select(Lease.expires_at)).one() > now()


def test_a_renewed_lease_cannot_be_taken_and_renewing_takes_nobody_elses(first: Leases, second: Leases) -> None:
    first.take(JOB)
    renew(second)

    renew(first)

    assert first.holds(JOB)
    assert not second.take(JOB)


def test_a_clock_that_was_set_back_does_not_keep_a_dead_workers_lease(
    database: Database, first: Leases, second: Leases, clock: Clock
) -> None:
    first.take(JOB)
    set_end(database, seconds_ahead=3600)
    assert not second.take(JOB)

    clock.seconds += LEASE.total_seconds() - 1
    assert not second.take(JOB)
    clock.seconds += 1
    assert second.take(JOB)


def test_a_worker_that_renews_keeps_its_lease_however_long_another_watches(
    first: Leases, second: Leases, clock: Clock
) -> None:
    first.take(JOB)
    for _ in range(5):
        assert not second.take(JOB)
        clock.seconds += LEASE.total_seconds()
        renew(first)

    assert not second.take(JOB)
    assert first.holds(JOB)
