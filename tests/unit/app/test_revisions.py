"""What the revisions make of a database: what the models say, all the way there and all the way back."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from app import migrate, schema
from app.database import Database
from app.models import Base
from tests.support.processes import threads
from tests.unit.app.conftest import HEAD, SHIPPED


def difference(database: Database) -> list[Any]:
    """Return what Alembic would write into a further revision."""
    backend = database.url.get_backend_name()
    options = {
        "include_name": lambda name, kind, _: kind != "table" or name != schema.FLOOR,
        # An index may be of one database alone.
        "include_object": lambda item, *_: getattr(item, "info", {}).get("only", backend) == backend,
    }
    with database.read() as session:
        return list(compare_metadata(MigrationContext.configure(session.connection(), opts=options), Base.metadata))


def test_the_revisions_make_what_the_models_say(database: Database) -> None:
    assert difference(database) == []


def test_the_files_are_named_in_the_order_of_the_revisions() -> None:
    assert schema.names() == list(schema.revisions())


def test_a_column_that_no_revision_makes_would_be_noticed(database: Database) -> None:
    with database.connection() as connection, connection.begin():
        connection.exec_driver_sql("ALTER TABLE projects DROP COLUMN license")

    assert len(difference(database)) == 1


def test_each_revision_can_be_taken_back_to_nothing_and_applied_again(database: Database) -> None:
    migrate.downgrade(database, SHIPPED[0])
    config = schema.alembic()
    with database.connection() as connection:
        config.attributes |= {"connection": connection, "on_version_apply": []}
        command.downgrade(config, "base")
    with database.read() as session:
        assert set(inspect(session.connection()).get_table_names()) == {"alembic_version", schema.FLOOR}

    assert migrate.migrate(database)["applied"] == SHIPPED
    assert difference(database) == []


def test_processes_that_migrate_at_once_do_so_one_after_another(empty: Database) -> None:
    def apply(_: int) -> list[str]:
        with closing(Database(empty.url.render_as_string(hide_password=False))) as database:
            applied: list[str] = migrate.migrate(database)["applied"]
            return applied

    with threads() as pool:
        assert sorted(pool.map(apply, range(4))) == [[], [], [], SHIPPED]
    with empty.read() as session:
        assert schema.current(session.connection()) == HEAD
