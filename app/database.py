"""The database: SQLite in WAL mode used well, and nothing that Postgres would not do too.

Two releases write to one SQLite file during an upgrade. So: WAL, a busy timeout, and BEGIN IMMEDIATE for
every transaction that writes, because a transaction that began as a reader cannot wait for another writer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app.errors import PpmError

BUSY_TIMEOUT = 10.0
"""Seconds that a writer waits for one of another process."""
POOL_SIZE = 8
_WRITE = "write"


class Database:
    """An engine, with sessions for reading and for writing."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.file = _file(url)
        self.engine = _sqlite_engine(url) if self.file else create_engine(url, pool_pre_ping=True)
        self.waited: Callable[[float], object] = lambda _: None
        """Told how many seconds a writer waited for its turn."""
        self._writing = self.engine.execution_options(**{_WRITE: True})
        # Writers of one process queue here, in order and without a connection. SQLite has no queue: its
        # waiters sleep and try again, and under load some of them sleep for long.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.file else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one state of the database."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose transaction may write from its first statement; commit at the end."""
        began = time.monotonic()
        with self._turn, Session(self._writing, expire_on_commit=False) as session, session.begin():
            session.connection()  # begins, and so waits for writers of other processes
            self.waited(time.monotonic() - began)
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield a plain connection whose transactions may write."""
        with self._turn, self._writing.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection; the last one to leave folds SQLite's WAL into the file."""
        self.engine.dispose()


def _file(url: str) -> Path | None:
    """Given a database's URL, return the file of SQLite, or None for another database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise PpmError("DATABASE_URL: SQLite needs a file, as in sqlite:////data/ppm.db")
    return Path(parsed.database)


def _sqlite_engine(url: str) -> Engine:
    from pysqlite3 import dbapi2

    engine = create_engine(
        url,
        module=dbapi2,
        pool_size=POOL_SIZE,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: _begin does, before DDL too
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-2048"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
