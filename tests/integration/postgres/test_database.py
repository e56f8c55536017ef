"""What Postgres gives where SQLite has its one writer: rows that are locked, and one state for a reader."""

from __future__ import annotations

from contextlib import closing

import pytest
from httpx import Client
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from app import database as module
from app.cli import _sentence
from app.database import Database
from app.models import Project
from tests.support.processes import threads
from tests.unit.app.conftest import until
from tests.unit.app.test_portfolio import add, change, url


def test_a_reader_sees_one_state_while_another_writes(database: Database) -> None:
    counted = select(func.count()).select_from(Project)
    with database.read() as reading:
        before = reading.scalar(counted)
        with database.write() as session:
            session.add(Project(name="new", url=url("new")))
        assert reading.scalar(counted) == before == 0

    with database.read() as reading:
        assert reading.scalar(counted) == 1


def test_changes_to_one_project_at_once_are_made_one_after_another(client: Client, database: Database) -> None:
    id = add(client, "tool", tags=["a"])
    with threads() as pool:
        with database.write() as session:
            session.get(Project, id, with_for_update=True)
            waiting = [pool.submit(change, client, id, tags=[tag, "b"]) for tag in ("c", "d")]
            until(lambda: database.engine.pool.checkedout() == 3)  # type: ignore[attr-defined]
            assert not any(one.done() for one in waiting)
        tags = [one.result(10)["tags"] for one in waiting]

    assert sorted(tags) == [["b", "c"], ["b", "d"]]
    assert client.get(f"/api/projects/{id}").json()["tags"] in tags


def test_a_writer_waits_for_another_only_so_long(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.write() as session:
        session.add(Project(name="tool", url=url("tool")))
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 0.1)
    locked = select(Project).with_for_update()
    with closing(Database(database.url.render_as_string())) as impatient, database.write() as session:
        session.scalars(locked).one()
        with pytest.raises(OperationalError, match="lock timeout"), impatient.write() as other:
            other.scalars(locked).one()


def test_it_says_that_the_schema_is_missing_and_what_to_run(empty: Database) -> None:
    with pytest.raises(ProgrammingError) as caught, empty.read() as session:
        session.scalar(select(Project))

    assert _sentence(caught.value) == 'database error: relation "projects" does not exist; run `ppm migrate`'
