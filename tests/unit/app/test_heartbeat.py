"""A worker's sign of life."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DatabaseError

from app.database import Database
from app.models import JobRun, Lease, now
from app.worker.heartbeat import FORGET, STALE_SECONDS, Heartbeat, worker_name
from app.worker.lease import Leases


def beat(database: Database, worker: str, release: str = "r1") -> Heartbeat:
    heartbeat = Heartbeat(Leases(database, worker), release)
    heartbeat.beat()
    return heartbeat


def workers(database: Database) -> list[str | None]:
    with database.read() as session:
        return list(session.scalars(select(JobRun.worker)))


def test_no_two_processes_have_the_same_name() -> None:
    assert worker_name() != worker_name()


def test_a_beat_is_young_and_a_worker_has_one_row(database: Database) -> None:
    heartbeat = beat(database, "host-1")
    heartbeat.beat()

    with database.read() as session:
        [row] = session.scalars(select(JobRun))
        assert (row.worker, row.release, row.started_at) == ("host-1", "r1", heartbeat.since)
        assert row.finished_at is not None
        assert now() - row.finished_at < timedelta(seconds=STALE_SECONDS)


def test_the_file_is_as_old_as_the_last_beat_that_was_written(database: Database, tmp_path: Path) -> None:
    heartbeat = Heartbeat(Leases(database, "host-1"), "r1", tmp_path / "heartbeat")
    assert not heartbeat.file.exists()
    heartbeat.beat()
    os.utime(heartbeat.file, (0, 0))

    with database.write() as session:
        session.execute(text("ALTER TABLE job_runs RENAME TO away"))
    with pytest.raises(DatabaseError):
        heartbeat.beat()
    assert heartbeat.file.stat().st_mtime == 0

    with database.write() as session:
        session.execute(text("ALTER TABLE away RENAME TO job_runs"))
    heartbeat.beat()
    assert time.time() - heartbeat.file.stat().st_mtime < STALE_SECONDS

    heartbeat.leave()
    assert not heartbeat.file.exists()


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

    assert workers(database) == []


def test_workers_that_are_long_gone_are_forgotten(database: Database) -> None:
    beat(database, "gone-1")
    with database.write() as session:
        session.execute(update(JobRun).values(finished_at=now() - FORGET - timedelta(seconds=1)))

    beat(database, "alive-1")

    assert workers(database) == ["alive-1"]
