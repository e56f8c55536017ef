"""Read a database's schema revision from the tables of the migration contract."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from .database import open_for_reading, tables

_PLACES = {"revision": ("alembic_version", "version_num"), "floor": ("schema_floor", "revision")}


def schema(database: Path, *, immutable: bool = False) -> dict[str, str | None]:
    """Return {revision, floor}: the current revision, and the oldest revision whose release can run on it."""
    with closing(open_for_reading(database, immutable=immutable)) as connection:
        return {name: _only_value(connection, *place) for name, place in _PLACES.items()}


def _only_value(connection: apsw.Connection, table: str, column: str) -> str | None:
    if table not in tables(connection):
        return None
    row = connection.execute(f"SELECT {column} FROM {table}").fetchone()  # noqa: S608
    return None if row is None else str(row[0])
