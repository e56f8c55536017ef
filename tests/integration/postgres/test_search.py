"""Searches on Postgres: by an index of trigrams, and where the server gives none, without."""

from __future__ import annotations

import logging
from contextlib import closing

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.dialects import postgresql

from app import migrate, schema
from app.api.projects import ProjectQuery, _chosen
from app.database import Database
from app.models import Project
from tests.integration.postgres.conftest import Server
from tests.unit.app.conftest import HEAD

INDEX = "ix_projects_name_url_trigrams"
MANY = """
INSERT INTO projects (name, url, created_at, scan_due_at)
SELECT md5(n::text), 'https://git.example.org/' || n, now(), now() FROM generate_series(1, 20000) n
"""


def plan(database: Database, **query: str) -> str:
    """Return how Postgres would find the projects of a list."""
    chosen = _chosen(ProjectQuery.model_validate(query), sqlite=False).with_only_columns(Project.id)
    sql = chosen.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    with database.read() as session:
        return "\n".join(session.connection().exec_driver_sql(f"EXPLAIN {sql}").scalars())


def test_a_search_among_many_projects_reads_the_index(database: Database) -> None:
    with database.write() as session:
        session.execute(text(MANY))
    with database.connection() as connection, connection.begin():
        connection.execute(text("ANALYZE projects"))

    assert f"Bitmap Index Scan on {INDEX}" in plan(database, q="ab12CD")
    assert INDEX not in plan(database, name="ab12CD")


def test_where_the_extension_may_not_be_created_the_migration_goes_on_without(
    postgres: Server, empty: Database, caplog: pytest.LogCaptureFixture
) -> None:
    postgres.do("CREATE ROLE plain LOGIN")  # who may make tables, and no extension
    with empty.connection() as connection, connection.begin():
        connection.execute(text("GRANT CREATE ON SCHEMA public TO plain"))
    with caplog.at_level(logging.WARNING), closing(Database(str(empty.url.set(username="plain")))) as database:
        assert migrate.migrate(database)["to"] == HEAD

        assert "there is no pg_trgm: permission denied to create extension" in caplog.text
        with database.read() as session:
            assert INDEX not in {index["name"] for index in inspect(session.connection()).get_indexes("projects")}
            assert schema.current(session.connection()) == HEAD
        migrate.downgrade(database, "0003")
