"""Count rows that a database has and an older copy lacks: restoring the copy would lose them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from ..errors import reading
from .database import open_for_reading, quoted, tables


def since(copy: Path, database: Path) -> dict[str, Any]:
    """Return {table: number of rows written since the copy}, without tables that have none.

    If a table has the same columns in both, new and changed rows count. If a migration changed the table, every row may
    differ, so only rows whose key the copy lacks count. Raises Damaged if the database cannot be read.
    """
    with reading(database), closing(open_for_reading(database)) as connection:
        connection.execute("ATTACH ? AS old", (f"{copy.absolute().as_uri()}?mode=ro&immutable=1",))
        connection.execute("BEGIN")
        counts = {table: _written(connection, table) for table in tables(connection)}
    return {table: count for table, count in counts.items() if count}


def _written(connection: apsw.Connection, table: str) -> int:
    """Return the number of new or changed rows. Both tables are read in key order, so nothing is sorted."""
    name = quoted(table)
    if table not in tables(connection, "old"):
        query = f"SELECT count(*) FROM main.{name}"  # noqa: S608
    else:
        keys = _keys(connection, table)
        same = " AND ".join(f"was.{key} = now.{key}" for key in keys)
        columns = _columns(connection, "main", table)
        differs = [f"was.{quoted(name)} IS NOT now.{quoted(name)}" for name, _ in columns]
        changed = f" OR {' OR '.join(differs)}" if columns == _columns(connection, "old", table) else ""
        match = f"SELECT 1 FROM old.{name} was WHERE {same}"  # noqa: S608
        unchanged = f"{match} AND NOT (0{changed})"
        query = f"SELECT count(*) FROM main.{name} now WHERE NOT EXISTS ({unchanged})"  # noqa: S608
    [(count,)] = connection.execute(query)
    return int(str(count))


def _keys(connection: apsw.Connection, table: str) -> list[str]:
    """Return the columns that identify a row: the rowid, or the primary key if there is no rowid."""
    query = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
    [(without_rowid,)] = connection.execute(query, (table,)).fetchall()
    if not without_rowid:
        return ["rowid"]
    columns = connection.execute("SELECT name FROM pragma_table_info(?, 'main') WHERE pk ORDER BY pk", (table,))
    return [quoted(str(name)) for (name,) in columns]


def _columns(connection: apsw.Connection, schema: str, table: str) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT name, type FROM pragma_table_info(?, ?)", (table, schema)).fetchall()
