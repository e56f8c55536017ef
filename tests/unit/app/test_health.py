"""/healthz and /readyz."""

from __future__ import annotations

from collections.abc import Callable

from httpx import Client

from app import migrate
from app.database import Database
from tests.unit.app.conftest import HEAD, NEXT, RELEASE

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


def test_it_is_not_ready_when_the_database_is_no_database(anonymous: Client, database: Database) -> None:
    assert database.file is not None
    database.close()
    database.file.write_bytes(b"not a database" * 100)

    answer = anonymous.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["reason"].startswith("the database does not answer")
