"""A worker's sign of life, and the lease."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from app.database import Database
from app.models import JobRun, Lease, now
from app.worker.heartbeat import FORGET, STALE_SECONDS, Heartbeat

JOB = "scan"


def holds(heartbeat: Heartbeat) -> bool:
    with heartbeat.database.read() as session:
        return heartbeat.holds_lease(session, JOB)


def let_the_lease_run_out(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Lease).values(expires_at=now() - timedelta(seconds=1)))


def test_a_worker_that_never_beat_has_no_age(database: Database) -> None:
    Heartbeat(database, "another").beat("r1")

    assert Heartbeat(database, "w1").age() is None


def test_a_beat_is_young_and_a_worker_has_one_row(database: Database) -> None:
    heartbeat = Heartbeat(database, "w1")
    for release in ("r1", "r1", "r2"):
        heartbeat.beat(release)

    age = heartbeat.age()

    assert age is not None
    assert 0 <= age < STALE_SECONDS
    with database.read() as session:
        [row] = session.scalars(select(JobRun))
        assert (row.worker, row.release, row.started_at) == ("w1", "r2", heartbeat.since)


def test_two_workers_never_hold_the_lease_at_once(database: Database) -> None:
    first, second = Heartbeat(database, "w1"), Heartbeat(database, "w2")

    assert first.take_lease(JOB)
    assert not second.take_lease(JOB)
    assert first.take_lease(JOB)
    assert (holds(first), holds(second)) == (True, False)


def test_a_lease_that_ran_out_can_be_taken_and_its_holder_knows(database: Database) -> None:
    first, second = Heartbeat(database, "w1"), Heartbeat(database, "w2")
    first.take_lease(JOB)

    let_the_lease_run_out(database)

    assert not holds(first)
    assert second.take_lease(JOB)
    assert not first.take_lease(JOB)


def test_a_beat_keeps_the_lease(database: Database) -> None:
    first, second = Heartbeat(database, "w1"), Heartbeat(database, "w2")
    first.take_lease(JOB)
    let_the_lease_run_out(database)

    second.beat("r1")
    assert not holds(first)

    first.beat("r1")
    assert holds(first)
    assert not second.take_lease(JOB)


def test_who_leaves_leaves_nothing_behind(database: Database) -> None:
    first, second = Heartbeat(database, "w1"), Heartbeat(database, "w2")
    first.beat("r1")
    first.take_lease(JOB)

    first.leave()

    assert first.age() is None
    assert second.take_lease(JOB)


def test_workers_that_are_long_gone_are_forgotten(database: Database) -> None:
    gone, alive = Heartbeat(database, "gone"), Heartbeat(database, "alive")
    gone.beat("r1")
    with database.write() as session:
        session.execute(update(JobRun).values(finished_at=now() - FORGET - timedelta(seconds=1)))

    alive.beat("r1")

    assert gone.age() is None
    assert alive.age() is not None
