"""The migration contract's own tables: what a database says of its schema."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from .database import open_for_reading, tables

_PLACES = {"revision": ("alembic_version", "version_num"), "floor": ("schema_floor", "revision")}


def schema(database: Path, *, immutable: bool = False) -> dict[str, str | None]:
    """Return {revision, floor}: where it is, and the oldest revision whose release may run on it."""
    with closing(open_for_reading(database, immutable=immutable)) as connection:
        return {name: _only_value(connection, *place) for name, place in _PLACES.items()}


def _only_value(connection: apsw.Connection, table: str, column: str) -> str | None:
    if table not in tables(connection):
        return None
    found = connection.execute(f"SELECT {column} FROM {table}").fetchone()  # noqa: S608
    return None if found is None else str(found[0])
