"""The migration contract: what is pending, applying it, and whether this release fits the database.

Each revision says ``compatibility = "expand"`` (the release before it can run on it) or ``"breaking"``;
nothing means breaking. The table ``schema_floor`` holds the oldest revision whose release may still run: an
`expand` leaves it, a `breaking` raises it. It is written in the transaction of the revision itself.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, inspect, text

from app.database import Database
from app.errors import PpmError

MIGRATIONS = Path(__file__).parent / "migrations"
_FLOOR = "schema_floor"


class SchemaError(PpmError):
    """The migrations cannot be applied."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


@cache
def revisions() -> dict[str, Script]:
    """Return this release's revisions by name, oldest first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return {script.revision: script for script in reversed(list(scripts))}


def head() -> str:
    """Return the newest revision of this release."""
    return list(revisions())[-1]


def compatibility(script: Script) -> str:
    """Return `expand` or `breaking`; what is not said is breaking."""
    return "expand" if getattr(script.module, "compatibility", None) == "expand" else "breaking"


def described(script: Script) -> dict[str, str]:
    """Return {revision, compatibility, summary}."""
    return {
        "revision": script.revision,
        "compatibility": compatibility(script),
        "summary": (script.doc or "").strip(),
    }


def current(connection: Connection) -> str | None:
    """Return the database's revision, or None for an empty database."""
    return _only_value(connection, "alembic_version", "version_num")


def floor(connection: Connection) -> str | None:
    """Return the oldest revision whose release may run on the database."""
    return _only_value(connection, _FLOOR, "revision")


def _only_value(connection: Connection, table: str, column: str) -> str | None:
    if not inspect(connection).has_table(table):
        return None
    found: str | None = connection.execute(text(f"SELECT {column} FROM {table}")).scalar()  # noqa: S608
    return found


def pending(database: Database) -> dict[str, Any]:
    """Return {current, head, pending: [{revision, compatibility, summary}]}, oldest first."""
    now = None
    if database.file is None or database.file.exists():  # asking must not create the file
        with database.read() as session:
            now = current(session.connection())
    ours = list(revisions().values())
    if now is None:
        missing = ours
    elif now in revisions():
        missing = ours[list(revisions()).index(now) + 1 :]
    else:
        missing = []  # a newer release has been here: nothing of ours is pending
    return {
        "current": now,
        "head": head(),
        "pending": [described(script) for script in missing],
    }


def misfit(database: Database) -> str | None:
    """Return None when this release can run on the database, else why it cannot."""
    with database.read() as session:
        now, oldest = current(session.connection()), floor(session.connection())
    ours = head()
    if now == ours:
        return None
    if now is None or now in revisions():
        return f"the database is at {now or 'nothing'}, this release needs {ours}"
    if oldest in revisions():
        return None
    return f"the database is at {now}, and releases before {oldest} cannot run on it; this one is {ours}"


def migrate(database: Database) -> dict[str, Any]:
    """Apply what is pending, one process at a time; return {from, to, applied, seconds}.

    Each revision is a transaction of its own; one that fails leaves the database at the revision before.
    """
    began = time.monotonic()
    with _alone(database):
        found = pending(database)
        if found["pending"]:
            if found["current"] is not None:
                _snapshot(database, found["current"])
            _upgrade(database)
    return {
        "from": found["current"],
        "to": found["head"] if found["pending"] else found["current"],
        "applied": [item["revision"] for item in found["pending"]],
        "seconds": round(time.monotonic() - began, 3),
    }


def _upgrade(database: Database) -> None:
    config = _config()
    with database.connection() as connection:
        # SQLite changes a table by making it anew, and dropping the old one would delete what refers to it.
        # The pragma works outside a transaction only. The connection is not used again.
        _foreign_keys(connection, enforced=False)
        config.attributes |= {"connection": connection, "on_version_apply": [_after_revision]}
        try:
            command.upgrade(config, "head")
        finally:
            _foreign_keys(connection, enforced=True)


def _foreign_keys(connection: Connection, *, enforced: bool) -> None:
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        with closing(driver.cursor()) as cursor:
            cursor.execute(f"PRAGMA foreign_keys={'ON' if enforced else 'OFF'}")


def _after_revision(*, ctx: Any, step: Any, **_: object) -> None:
    """Within the revision's transaction: check the references and keep the floor."""
    connection, script = ctx.connection, step.up_revision
    if connection.dialect.name == "sqlite" and (
        broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    ):
        raise SchemaError(f"revision {script.revision} leaves {len(broken)} broken references, first {broken[0]}")
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {_FLOOR} (revision VARCHAR(32) NOT NULL)"))
    if script.down_revision is None or compatibility(script) == "breaking":
        connection.execute(text(f"DELETE FROM {_FLOOR}"))  # noqa: S608
        connection.execute(text(f"INSERT INTO {_FLOOR} VALUES (:revision)"), {"revision": script.revision})  # noqa: S608


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Hold a lock beside the SQLite file: several replicas that start at once migrate one after another."""
    if database.file is None:
        yield
        return
    with Path(f"{database.file}.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _snapshot(database: Database, revision: str) -> None:
    """Copy the SQLite file beside it before it changes, in one step: paged backups start over at every commit."""
    if database.file is None:
        return
    from pysqlite3 import dbapi2

    target = database.file.with_name(f"pre-migration-{revision}.db")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    with closing(dbapi2.connect(str(database.file))) as source, closing(dbapi2.connect(str(partial))) as copy:
        source.backup(copy)
    _sync(partial)
    partial.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
