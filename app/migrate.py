"""Applying and reverting revisions: by one process at a time, all of them or none.

Several revisions are one transaction. A failure, a lost container or a full disk leaves the database as it was, and no
reader ever sees an intermediate state.
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
"""Key of Postgres's advisory lock: any number that nothing else uses in this database."""


class SchemaError(PpmError):
    """The migrations cannot be applied or reverted."""


def migrate(database: Database, *, snapshot: bool = True) -> dict[str, Any]:
    """Apply pending revisions; return {from, to, applied, seconds, stamp}. First copy a file that has a revision.

    ``snapshot`` is False when the caller has already made a copy. As long as the file's stamp equals ``stamp``, the
    database has not been written to.
    """
    began = time.monotonic()
    with _alone(database):
        state = pending(database)
        if state["pending"]:
            if state["current"] is not None and snapshot:
                _snapshot(database, state["current"])
            _run(database, lambda config: command.upgrade(config, "head"))
        stamp = _folded(database)
    return {
        "from": state["current"],
        "to": state["head"] if state["pending"] else state["current"],
        "applied": [item["revision"] for item in state["pending"]],
        "seconds": round(time.monotonic() - began, 3),
        "stamp": stamp,
    }


def downgrade(database: Database, target: str) -> dict[str, Any]:
    """Revert every revision after ``target``; return {from, to, undone, seconds, stamp}.

    Raises SchemaError, before anything changes, when one of them is not this release's or cannot be reverted.
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
    """Return the revisions after ``target`` up to ``now``, newest first. Raises SchemaError if one has no downgrade."""
    for name in (now, target):
        if name not in revisions():
            raise SchemaError(f"this release does not know the revision {name}")
    names = list(revisions())
    between = names[names.index(target) + 1 : names.index(str(now)) + 1]
    if irreversible := [name for name in between if not hasattr(revisions()[name].module, "downgrade")]:
        raise SchemaError(f"cannot revert {', '.join(irreversible)}: no downgrade()")
    return between[::-1]


def _run(database: Database, act: Callable[[Config], None]) -> None:
    config = alembic()
    with database.connection() as connection:
        # SQLite changes a table by rebuilding it, and dropping the old table would delete the rows that refer to it.
        # The pragma works only outside a transaction. The connection is not used again.
        _foreign_keys(connection, enforced=False)
        config.attributes |= {"connection": connection, "on_version_apply": [_after_revision]}
        try:
            act(config)
        finally:
            _foreign_keys(connection, enforced=True)


def _folded(database: Database) -> str | None:
    """Close SQLite, which merges its WAL into the file when no other process has it open; return the file's stamp."""
    if database.file is None:
        return None
    database.close()
    status = database.file.stat()
    return f"{status.st_mtime_ns}:{status.st_size}"


def _foreign_keys(connection: Connection, *, enforced: bool) -> None:
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        with closing(driver.cursor()) as cursor:
            cursor.execute(f"PRAGMA foreign_keys={'ON' if enforced else 'OFF'}")


def _after_revision(*, ctx: Any, step: Any, **_: object) -> None:
    """Within the transaction, after each revision: check the references and update the floor."""
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
    """Hold a lock, for SQLite on a file next to it: replicas that start at the same time migrate one after another."""
    path = lock_file(database)
    if path is None:
        with database.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # wait as long as the other process takes
            connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            yield
        return
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _snapshot(database: Database, revision: str) -> None:
    """Copy the SQLite file next to itself before it changes, in one step: paged backups start over at every commit.

    For Postgres there is no file here to copy: its operator is responsible for backups.
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
