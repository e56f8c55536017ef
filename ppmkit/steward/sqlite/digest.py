"""Digests of a database's content, one per table: the same rows give the same digest in any file.

Rows are read in the order of the table's own b-tree, so this takes one pass and almost no memory.
"""

from __future__ import annotations

import itertools
import marshal
from collections.abc import Callable
from typing import TypedDict

import apsw
from xxhash import xxh3_128

from .database import quoted

ALGORITHM = "xxh3-128 of marshal 2"
"""Recorded in manifests. Version 2 of Python's marshal writes only values: no references and no interned strings."""
_ROWS = 256
_SCHEMA = "sqlite_schema"


class Table(TypedDict):
    """The number of rows in a table, and their digest."""

    rows: int
    digest: str


def digests(connection: apsw.Connection, pause: Callable[[], None] = lambda: None) -> dict[str, Table]:
    """Return {table: {rows, digest}} of all stored tables, including FTS5's and the schema table.

    ``pause`` is called every few rows; an exception that it raises aborts the work.
    """
    query = (
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') "
        "AND name <> 'sqlite_schema' ORDER BY name"
    )
    result = {_SCHEMA: _digest(connection, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid", pause)}
    for name, without_rowid in connection.execute(query).fetchall():
        table = str(name)
        try:
            result[table] = _digest(connection, _query(connection, table, bool(without_rowid)), pause)
        except UnicodeDecodeError:  # SQLite allows text that is not valid UTF-8
            result[table] = _digest(connection, _query(connection, table, bool(without_rowid), raw=True), pause)
    return result


def _digest(connection: apsw.Connection, query: str, pause: Callable[[], None]) -> Table:
    digest, count = xxh3_128(), 0
    cursor = connection.execute(query)
    while rows := list(itertools.islice(cursor, _ROWS)):
        digest.update(marshal.dumps(rows, 2))
        count += len(rows)
        pause()
    return {"rows": count, "digest": digest.hexdigest()}


def _query(connection: apsw.Connection, table: str, without_rowid: bool, *, raw: bool = False) -> str:
    """Return the query for all stored columns of a table, in the order of its own b-tree, not of an index."""
    info = connection.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (table,)).fetchall()
    names = [str(name) for name, _ in info]
    stored = [quoted(str(name)) for name, hidden in info if hidden in (0, 3)]  # 2: virtual, 3: stored generated column
    columns = [f"typeof({name}), CAST({name} AS BLOB)" for name in stored] if raw else list(stored)
    if not without_rowid:
        shadowed = {name.lower() for name in names}
        columns[:0] = [name for name in ("rowid", "_rowid_", "oid") if name not in shadowed][:1]
    return f"SELECT {', '.join(columns)} FROM main.{quoted(table)} NOT INDEXED"  # noqa: S608
