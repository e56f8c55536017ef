"""/api/system: what it says of workers, by which an upgrade hands over from one to the next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from httpx import Client
from sqlalchemy import update

from app.database import Database
from app.models import JobRun, now
from app.worker.heartbeat import STALE_SECONDS, Heartbeat
from app.worker.lease import Leases


def beat(database: Database, name: str, *jobs: str) -> Leases:
    """Let a worker beat, and have the leases of these jobs."""
    leases = Leases(database, name)
    for job in jobs:
        assert leases.take(job)
    Heartbeat(leases, f"release of {name}").beat()
    return leases


def silence(database: Database) -> None:
    with database.write() as session:
        session.execute(update(JobRun).values(finished_at=now() - timedelta(seconds=STALE_SECONDS)))


def system(client: Client) -> dict[str, Any]:
    answer = client.get("/api/system")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_before_any_worker_has_begun_there_is_none(anonymous: Client) -> None:
    found = system(anonymous)

    assert (found["worker"], found["workers"]) == (None, [])


def test_a_worker_that_has_a_lease_works_and_one_that_has_none_is_on_standby(
    anonymous: Client, database: Database
) -> None:
    old = beat(database, "old", "scan", "clean")
    new = beat(database, "new")
    found = system(anonymous)
    assert {worker["name"]: worker["standby"] for worker in found["workers"]} == {"old": False, "new": True}
    assert (found["worker"]["name"], found["worker"]["release"]) == ("old", "release of old")

    old.give_back("scan")
    new.take("scan")
    assert {worker["standby"] for worker in system(anonymous)["workers"]} == {False}

    old.give_back("clean")
    assert {worker["name"]: worker["standby"] for worker in system(anonymous)["workers"]} == {"old": True, "new": False}


def test_the_last_worker_is_named_when_all_are_silent(anonymous: Client, database: Database) -> None:
    beat(database, "first", "scan")
    silence(database)
    beat(database, "last")
    silence(database)

    found = system(anonymous)

    assert (found["worker"]["name"], found["worker"]["alive"]) == ("last", False)
    assert found["workers"] == []


def test_a_silent_worker_is_not_named_while_another_lives(anonymous: Client, database: Database) -> None:
    beat(database, "killed", "scan")
    silence(database)
    beat(database, "new")

    found = system(anonymous)

    assert [worker["name"] for worker in found["workers"]] == ["new"]
    assert (found["worker"]["name"], found["worker"]["standby"]) == ("new", True)
