"""What a database holds, as one digest for each table: the same rows give the same digest, wherever the file lies.

Rows are taken in the order of the table's own b-tree, so that it costs one pass and next to no memory.
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
"""Manifests name it. Version 2 of Python's marshal writes values alone: no references and no interned strings."""
_ROWS = 256
_SCHEMA = "sqlite_schema"


class Table(TypedDict):
    """What one table holds."""

    rows: int
    digest: str


def digests(connection: apsw.Connection, pause: Callable[[], None] = lambda: None) -> dict[str, Table]:
    """Return {table: {rows, digest}} of all that SQLite stores: the tables of FTS5 and of the schema too.

    ``pause`` is called every few rows; what it raises ends the work.
    """
    chosen = (
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') "
        "AND name <> 'sqlite_schema' ORDER BY name"
    )
    found = {_SCHEMA: _digest(connection, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid", pause)}
    for name, without_rowid in connection.execute(chosen).fetchall():
        table = str(name)
        try:
            found[table] = _digest(connection, _query(connection, table, bool(without_rowid)), pause)
        except UnicodeDecodeError:  # a text that is none: SQLite does not mind
            found[table] = _digest(connection, _query(connection, table, bool(without_rowid), raw=True), pause)
    return found


def _digest(connection: apsw.Connection, query: str, pause: Callable[[], None]) -> Table:
    hashed, count = xxh3_128(), 0
    cursor = connection.execute(query)
    while rows := list(itertools.islice(cursor, _ROWS)):
        hashed.update(marshal.dumps(rows, 2))
        count += len(rows)
        pause()
    return {"rows": count, "digest": hashed.hexdigest()}


def _query(connection: apsw.Connection, table: str, without_rowid: bool, *, raw: bool = False) -> str:
    """Return the query for all that is stored of a table, in the order of its own b-tree, not of an index."""
    described = connection.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (table,)).fetchall()
    names = [str(name) for name, _ in described]
    stored = [quoted(str(name)) for name, hidden in described if hidden in (0, 3)]  # 2 is computed, 3 computed and kept
    columns = [f"typeof({name}), CAST({name} AS BLOB)" for name in stored] if raw else list(stored)
    if not without_rowid:
        shadowed = {name.lower() for name in names}
        columns[:0] = [name for name in ("rowid", "_rowid_", "oid") if name not in shadowed][:1]
    return f"SELECT {', '.join(columns)} FROM main.{quoted(table)} NOT INDEXED"  # noqa: S608
