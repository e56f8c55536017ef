"""/healthz and /readyz."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import pytest
from anyio.from_thread import BlockingPortal
from httpx import Client

from app import migrate
from app.api import create_app, health
from app.database import BUSY_TIMEOUT, Database
from app.models import Project
from app.settings import Settings
from tests.unit.app.conftest import HEAD, NEXT, RELEASE, InLoop

Revisions = Callable[..., None]
EXPAND = "compatibility = 'expand'\ndef upgrade(): op.execute('CREATE TABLE more (id INTEGER)')"
BREAKING = EXPAND.replace("expand", "breaking")


def test_it_is_ready_when_the_database_has_every_migration(anonymous: Client) -> None:
    answer = anonymous.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "release": RELEASE})
    assert answer.headers["Cache-Control"] == "no-store"


def test_it_lives_but_is_not_ready_while_it_drains(anonymous: Client, drain: Callable[[], None]) -> None:
    drain()

    assert anonymous.get("/healthz").json() == {"status": "ok", "release": RELEASE}
    answer = anonymous.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "shutting down")


def test_it_is_not_ready_before_its_migrations_are_applied(anonymous: Client, revisions: Revisions) -> None:
    revisions(EXPAND)

    answer = anonymous.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["reason"] == f"the database is at {HEAD}, this release needs {NEXT}"


def test_it_stays_ready_when_a_newer_release_has_only_expanded_the_schema(
    anonymous: Client, database: Database, revisions: Revisions
) -> None:
    revisions(EXPAND)
    migrate.migrate(database)
    revisions()

    assert anonymous.get("/readyz").status_code == 200


def test_it_is_not_ready_when_a_newer_release_has_broken_the_schema(
    anonymous: Client, database: Database, revisions: Revisions
) -> None:
    revisions(BREAKING)
    migrate.migrate(database)
    revisions()

    answer = anonymous.get("/readyz")

    assert answer.status_code == 503
    assert f"releases before {NEXT} cannot run on it; this one is {HEAD}" in answer.json()["reason"]


@pytest.mark.sqlite
def test_it_is_not_ready_when_the_database_is_no_database(anonymous: Client, database: Database) -> None:
    assert database.file is not None
    database.close()
    database.file.write_bytes(b"not a database" * 100)

    answer = anonymous.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["reason"].startswith("the database is not responding")


@pytest.mark.sqlite
def test_it_is_not_ready_when_the_database_takes_no_writes(database: Database, portal: BlockingPortal) -> None:
    read_only = Database(f"sqlite:///file:{database.file}?mode=ro&uri=true")
    settings = Settings(app_env="test", ppm_release=RELEASE, database_url=str(read_only.url))

    with closing(read_only), Client(transport=InLoop(create_app(settings, read_only), portal)) as client:
        answer = client.get("http://ppm/readyz")

    assert answer.status_code == 503
    assert answer.json()["reason"] == "the database cannot be written to: attempt to write a readonly database"


def test_it_is_ready_while_somebody_writes_and_does_not_wait_for_them(anonymous: Client, database: Database) -> None:
    with database.write() as session:
        session.add(Project(name="new", url="https://git.example.org/new"))
        session.flush()
        began = time.monotonic()
        answer = anonymous.get("/readyz")
        took = time.monotonic() - began

    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert took < BUSY_TIMEOUT / 2


@pytest.mark.sqlite
def test_whoever_was_asked_whether_it_is_ready_waits_for_other_writers_as_before(
    anonymous: Client, database: Database
) -> None:
    anonymous.get("/readyz")

    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == BUSY_TIMEOUT * 1000


@pytest.mark.sqlite
def test_a_disk_that_runs_full_is_told_and_takes_nobody_out(anonymous: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOW_DISK", 1 << 62)

    answer = anonymous.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert "MiB are free on the database's disk" in answer.json()["reason"]
