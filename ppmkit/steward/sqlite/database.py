"""Open a database, and list its tables."""

from __future__ import annotations

from pathlib import Path

import apsw

from ..errors import StewardError


def open_for_reading(database: Path, *, immutable: bool = False) -> apsw.Connection:
    """Return a read-only connection. ``immutable`` is only for finished copies, never for a live file."""
    if not database.is_file():
        raise StewardError(f"there is no {database}")
    uri = f"{database.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
    connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connection.set_busy_timeout(10_000)
    return connection


def tables(connection: apsw.Connection, schema: str = "main") -> list[str]:
    """Return the sorted names of the application's tables, without Litestream's two tables."""
    chosen = "SELECT name FROM pragma_table_list WHERE schema = ? AND type = 'table' AND NOT ("
    others = " OR ".join(f"name LIKE '{prefix}\\_%' ESCAPE '\\'" for prefix in ("sqlite", "\\_litestream"))
    return [str(row[0]) for row in connection.execute(f"{chosen}{others}) ORDER BY name", (schema,))]


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
