"""A worker's sign of life."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from app.database import Database
from app.models import JobRun, Lease, now
from app.worker.heartbeat import FORGET, STALE_SECONDS, Heartbeat, age, worker_name
from app.worker.lease import Leases


def beat(database: Database, worker: str, release: str = "r1") -> Heartbeat:
    heartbeat = Heartbeat(Leases(database, worker), release)
    heartbeat.beat()
    return heartbeat


def test_no_two_processes_have_the_same_name() -> None:
    assert worker_name() != worker_name()


def test_a_host_whose_worker_never_beat_has_no_age(database: Database) -> None:
    beat(database, "another-1")

    assert age(database, "host") is None


def test_a_beat_is_young_and_a_worker_has_one_row(database: Database) -> None:
    heartbeat = beat(database, "host-1")
    heartbeat.beat()

    seconds = age(database, "host")

    assert seconds is not None
    assert 0 <= seconds < STALE_SECONDS
    with database.read() as session:
        [row] = session.scalars(select(JobRun))
        assert (row.worker, row.release, row.started_at) == ("host-1", "r1", heartbeat.since)


def test_a_worker_that_was_started_again_is_the_one_that_counts(database: Database) -> None:
    beat(database, "host-1")
    with database.write() as session:
        session.execute(update(JobRun).values(finished_at=now() - timedelta(seconds=100)))
    beat(database, "host-2")

    assert (age(database, "host") or 100) < STALE_SECONDS


def test_a_beat_renews_the_leases_of_its_worker(database: Database) -> None:
    heartbeat = beat(database, "host-1")
    heartbeat.leases.take("scan")
    with database.write() as session:
        session.execute(update(Lease).values(expires_at=now()))

    beat(database, "host-2")
    with database.read() as session:
        assert session.scalars(select(Lease.expires_at)).one() <= now()

    heartbeat.beat()
    with database.read() as session:
        assert session.scalars(select(Lease.expires_at)).one() > now()


def test_who_leaves_is_not_missed(database: Database) -> None:
    beat(database, "host-1").leave()

    assert age(database, "host") is None


def test_workers_that_are_long_gone_are_forgotten(database: Database) -> None:
    beat(database, "gone-1")
    with database.write() as session:
        session.execute(update(JobRun).values(finished_at=now() - FORGET - timedelta(seconds=1)))

    beat(database, "alive-1")

    assert age(database, "gone") is None
    assert age(database, "alive") is not None
