"""What a database has that a copy of it has not: what would be lost by going back to the copy."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from .snapshot import open_for_reading, quoted, tables


def since(copy: Path, database: Path) -> dict[str, Any]:
    """Return {table: rows that were written since}, tables without any left out.

    Of a table with the same columns in both: rows that are new or differ. Of one that a migration has changed,
    every row may differ: then those whose rowid the copy has not.
    """
    with closing(open_for_reading(database)) as connection:
        connection.execute("ATTACH ? AS old", (f"file:{copy}?mode=ro&immutable=1",))
        connection.execute("BEGIN")
        counts = {table: _written(connection, table) for table in tables(connection)}
    return {table: count for table, count in counts.items() if count}


def _written(connection: apsw.Connection, table: str) -> int:
    name = quoted(table)
    if table not in tables(connection, "old"):
        query = f"SELECT count(*) FROM main.{name}"  # noqa: S608
    elif _columns(connection, "main", table) == _columns(connection, "old", table):
        query = f"SELECT count(*) FROM (SELECT * FROM main.{name} EXCEPT SELECT * FROM old.{name})"  # noqa: S608
    else:
        query = f"SELECT count(*) FROM main.{name} WHERE rowid NOT IN (SELECT rowid FROM old.{name})"  # noqa: S608
    [(count,)] = connection.execute(query)
    return int(str(count))


def _columns(connection: apsw.Connection, schema: str, table: str) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT name, type FROM pragma_table_info(?, ?)", (table, schema)).fetchall()
