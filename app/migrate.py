"""Applying revisions and taking them back: one process at a time, all of them or none.

Several revisions are one transaction. A failure, a lost container or a full disk leaves the database where it was,
and nobody ever sees it halfway.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, select, text

from app.database import Database
from app.errors import PpmError
from app.schema import FLOOR, alembic, current, floor_of, lock_file, pending, revisions

LOCK = 0x70706D
"""Of Postgres: any number that nobody else uses in this database."""


class SchemaError(PpmError):
    """The migrations cannot be applied, or not be taken back."""


def migrate(database: Database, *, snapshot: bool = True) -> dict[str, Any]:
    """Apply what is pending; return {from, to, applied, seconds, stamp}. First copy a file that has a revision.

    ``snapshot`` is off where somebody else has seen to a copy. While ``stamp`` is the file's, nobody has written.
    """
    began = time.monotonic()
    with _alone(database):
        found = pending(database)
        if found["pending"]:
            if found["current"] is not None and snapshot:
                _snapshot(database, found["current"])
            _run(database, lambda config: command.upgrade(config, "head"))
        stamp = _folded(database)
    return {
        "from": found["current"],
        "to": found["head"] if found["pending"] else found["current"],
        "applied": [item["revision"] for item in found["pending"]],
        "seconds": round(time.monotonic() - began, 3),
        "stamp": stamp,
    }


def downgrade(database: Database, target: str) -> dict[str, Any]:
    """Take back every revision after ``target``; return {from, to, undone, seconds, stamp}.

    Raises SchemaError, before anything changes, when one of them is not ours or has no way back.
    """
    began = time.monotonic()
    with _alone(database):
        with database.read() as session:
            now = current(session.connection())
        undone = _after(now, target)
        if undone:
            _run(database, lambda config: command.downgrade(config, target))
        stamp = _folded(database)
    seconds = round(time.monotonic() - began, 3)
    return {"from": now, "to": target, "undone": undone, "seconds": seconds, "stamp": stamp}


def _after(now: str | None, target: str) -> list[str]:
    """Return the revisions between, newest first; each must have a way back."""
    for name in (now, target):
        if name not in revisions():
            raise SchemaError(f"this release does not know the revision {name}")
    names = list(revisions())
    between = names[names.index(target) + 1 : names.index(str(now)) + 1]
    if fixed := [name for name in between if not hasattr(revisions()[name].module, "downgrade")]:
        raise SchemaError(f"no way back from {', '.join(fixed)}: it has no downgrade()")
    return between[::-1]


def _run(database: Database, act: Callable[[Config], None]) -> None:
    config = alembic()
    with database.connection() as connection:
        # SQLite changes a table by making it anew, and dropping the old one would delete what refers to it.
        # The pragma works outside a transaction only. The connection is not used again.
        _foreign_keys(connection, enforced=False)
        config.attributes |= {"connection": connection, "on_version_apply": [_after_revision]}
        try:
            act(config)
        finally:
            _foreign_keys(connection, enforced=True)


def _folded(database: Database) -> str | None:
    """Close SQLite, which folds its WAL into the file when nobody else has it open; return the file's stamp."""
    if database.file is None:
        return None
    database.close()
    found = database.file.stat()
    return f"{found.st_mtime_ns}:{found.st_size}"


def _foreign_keys(connection: Connection, *, enforced: bool) -> None:
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        with closing(driver.cursor()) as cursor:
            cursor.execute(f"PRAGMA foreign_keys={'ON' if enforced else 'OFF'}")


def _after_revision(*, ctx: Any, step: Any, **_: object) -> None:
    """Within the transaction, after each revision: check the references and keep the floor."""
    connection, script = ctx.connection, step.up_revision
    if connection.dialect.name == "sqlite" and (
        broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    ):
        raise SchemaError(f"revision {script.revision} leaves {len(broken)} broken references, first {broken[0]}")
    floor = floor_of(script.revision if step.is_upgrade else script.down_revision)
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {FLOOR} (revision VARCHAR(32) NOT NULL)"))
    connection.execute(text(f"DELETE FROM {FLOOR}"))  # noqa: S608
    connection.execute(text(f"INSERT INTO {FLOOR} VALUES (:revision)"), {"revision": floor})  # noqa: S608


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Hold a lock, for SQLite beside its file: several replicas that start at once migrate one after another."""
    path = lock_file(database)
    if path is None:
        with database.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # however long the other one takes
            connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            yield
        return
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _snapshot(database: Database, revision: str) -> None:
    """Copy the SQLite file beside it before it changes, in one step: paged backups start over at every commit.

    Of Postgres there is no file here to copy: whoever runs it has backups of it.
    """
    if database.file is None:
        return
    from pysqlite3 import dbapi2

    target = database.file.with_name(f"pre-migration-{revision}.db")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    with closing(dbapi2.connect(str(database.file))) as source, closing(dbapi2.connect(str(partial))) as copy:
        source.backup(copy)
    for path in (partial, target.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path is partial:
            partial.rename(target)
