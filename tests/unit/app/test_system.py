"""/api/system: who is told what; and of workers, by which an upgrade hands over from one to the next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from httpx import Client
from sqlalchemy import update

from app import tokens
from app.database import Database
from app.models import JobRun, now
from app.scope import Scope
from app.worker.heartbeat import STALE_SECONDS, Heartbeat
from app.worker.lease import Leases
from tests.unit.app.conftest import HEAD, RELEASE
from tests.unit.app.test_projects import problem


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


def test_before_any_worker_has_begun_there_is_none(client: Client) -> None:
    found = system(client)

    assert (found["worker"], found["workers"]) == (None, [])


def test_a_worker_that_has_a_lease_works_and_one_that_has_none_is_on_standby(
    client: Client, database: Database
) -> None:
    old = beat(database, "old", "scan", "clean")
    new = beat(database, "new")
    found = system(client)
    assert {worker["name"]: worker["standby"] for worker in found["workers"]} == {"old": False, "new": True}
    assert (found["worker"]["name"], found["worker"]["release"]) == ("old", "release of old")

    old.give_back("scan")
    new.take("scan")
    assert {worker["standby"] for worker in system(client)["workers"]} == {False}

    old.give_back("clean")
    assert {worker["name"]: worker["standby"] for worker in system(client)["workers"]} == {"old": True, "new": False}


def test_the_last_worker_is_named_when_all_are_silent(client: Client, database: Database) -> None:
    beat(database, "first", "scan")
    silence(database)
    beat(database, "last")
    silence(database)

    found = system(client)

    assert (found["worker"]["name"], found["worker"]["alive"]) == ("last", False)
    assert found["workers"] == []


def test_a_silent_worker_is_not_named_while_another_lives(client: Client, database: Database) -> None:
    beat(database, "killed", "scan")
    silence(database)
    beat(database, "new")

    found = system(client)

    assert [worker["name"] for worker in found["workers"]] == ["new"]
    assert (found["worker"]["name"], found["worker"]["standby"]) == ("new", True)


def test_without_a_login_it_says_the_release_and_whether_one_can_log_in(anonymous: Client) -> None:
    assert system(anonymous) == {"release": RELEASE, "login": False}


@pytest.mark.parametrize("scope", list(Scope))
def test_every_scope_reads_all_of_it(anonymous: Client, database: Database, scope: Scope) -> None:
    anonymous.headers["Authorization"] = f"Bearer {tokens.create(database, 'ci', scope)[0]}"

    assert system(anonymous)["database"] == {"revision": HEAD, "head": HEAD}


def test_a_token_that_is_no_good_is_refused(anonymous: Client) -> None:
    for sent in ("Bearer ppm_wrong", "Basic eDp5", "Bearer é"):
        problem(anonymous.get("/api/system", headers={"Authorization": sent.encode()}), 401)


def test_the_host_is_told_all_of_it_without_a_login(client: Client, anonymous: Client) -> None:
    told = client.get("/statusz").json()
    assert told.keys() == system(client).keys()
    del anonymous.headers["Authorization"]

    assert anonymous.get("/statusz").json().keys() == told.keys()


@pytest.mark.sqlite  # Postgres calls a table that is gone a fault of the program: 500, which a smoke check finds too
def test_what_is_public_is_not_told_either_when_the_database_does_not_answer(
    anonymous: Client, database: Database
) -> None:
    """So a smoke check, which has no login, finds it out."""
    with database.write() as session:
        session.connection().exec_driver_sql("ALTER TABLE job_runs RENAME TO elsewhere")

    problem(anonymous.get("/api/system"), 503)
