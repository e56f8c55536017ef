"""What a database has that a copy of it has not, or otherwise: what would be lost by going back to the copy."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from ..errors import reading
from .database import open_for_reading, quoted, tables


def since(copy: Path, database: Path) -> dict[str, Any]:
    """Return {table: rows that were written since}, tables without any left out.

    Of a table with the same columns in both: rows that are new or differ. Of one that a migration has changed,
    every row may differ: then those whose key the copy has not. Raises Damaged when the database cannot be read.
    """
    with reading(database), closing(open_for_reading(database)) as connection:
        connection.execute("ATTACH ? AS old", (f"{copy.absolute().as_uri()}?mode=ro&immutable=1",))
        connection.execute("BEGIN")
        counts = {table: _written(connection, table) for table in tables(connection)}
    return {table: count for table, count in counts.items() if count}


def _written(connection: apsw.Connection, table: str) -> int:
    """Return how many rows are new or differ. Both tables are read side by side by their keys: nothing is sorted."""
    name = quoted(table)
    if table not in tables(connection, "old"):
        query = f"SELECT count(*) FROM main.{name}"  # noqa: S608
    else:
        keys = _keys(connection, table)
        same = " AND ".join(f"was.{key} = now.{key}" for key in keys)
        columns = _columns(connection, "main", table)
        differs = [f"was.{quoted(name)} IS NOT now.{quoted(name)}" for name, _ in columns]
        changed = f" OR {' OR '.join(differs)}" if columns == _columns(connection, "old", table) else ""
        found = f"SELECT 1 FROM old.{name} was WHERE {same}"  # noqa: S608
        unchanged = f"{found} AND NOT (0{changed})"
        query = f"SELECT count(*) FROM main.{name} now WHERE NOT EXISTS ({unchanged})"  # noqa: S608
    [(count,)] = connection.execute(query)
    return int(str(count))


def _keys(connection: apsw.Connection, table: str) -> list[str]:
    """Return the columns that tell its rows apart: the primary key where there is no rowid."""
    described = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
    [(without_rowid,)] = connection.execute(described, (table,)).fetchall()
    if not without_rowid:
        return ["rowid"]
    found = connection.execute("SELECT name FROM pragma_table_info(?, 'main') WHERE pk ORDER BY pk", (table,))
    return [quoted(str(name)) for (name,) in found]


def _columns(connection: apsw.Connection, schema: str, table: str) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT name, type FROM pragma_table_info(?, ?)", (table, schema)).fetchall()
