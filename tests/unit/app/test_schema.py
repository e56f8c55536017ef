"""The migration contract: what is pending, and waiting until a release and a database fit."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable

from sqlalchemy import text

from app import migrate, schema
from app.database import Database
from tests.support.processes import join
from tests.unit.app.conftest import HEAD, NEXT, SHIPPED, until

Revisions = Callable[..., None]
EXPAND = "compatibility = 'expand'\ndef upgrade(): op.execute('CREATE TABLE more (id INTEGER)')"


def test_asking_what_is_pending_does_not_make_the_database(empty: Database) -> None:
    found = schema.pending(empty)

    assert (found["current"], found["head"]) == (None, HEAD)
    assert [item["revision"] for item in found["pending"]] == SHIPPED
    assert empty.file is not None
    assert not empty.file.exists()


def test_pending_names_each_revision_with_its_summary(database: Database, revisions: Revisions) -> None:
    revisions(EXPAND)

    assert schema.pending(database)["pending"] == [
        {"revision": NEXT, "compatibility": "expand", "summary": f"change {int(NEXT)}"}
    ]


def test_a_release_waits_until_the_database_is_at_its_revision(database: Database, revisions: Revisions) -> None:
    revisions(EXPAND)
    fits, stop = threading.Event(), threading.Event()

    def wait() -> None:
        if schema.await_fit(database, stop.wait):
            fits.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not fits.wait(0.3)
    migrate.migrate(database)

    assert fits.wait(5)
    join(waiting)


def test_a_release_does_not_look_at_a_database_that_somebody_changes(database: Database) -> None:
    path = schema.lock_file(database)
    assert path is not None
    fits, stop = threading.Event(), threading.Event()
    waiting = threading.Thread(target=lambda: schema.await_fit(database, stop.wait) and fits.set())
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting.start()
        assert not fits.wait(0.3)

    assert fits.wait(5)
    join(waiting)


def test_a_release_that_is_told_to_stop_waits_no_longer(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'elsewhere'"))
        session.execute(text("UPDATE schema_floor SET revision = 'elsewhere'"))
    stop = threading.Event()
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(schema.await_fit(database, stop.wait)))
    waiting.start()

    stop.set()

    until(lambda: found == [False])
    join(waiting)
