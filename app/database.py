"""The database: SQLite in WAL mode, or Postgres, which the tests also run on.

Two releases write to one SQLite file during an upgrade. This requires WAL, a busy timeout, and BEGIN IMMEDIATE for
every transaction that writes, because a transaction that began as a reader cannot wait for another writer.

Postgres allows several writers at once: a transaction that writes depending on a row's values must lock that row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from app.errors import PpmError

BUSY_TIMEOUT = 10.0
"""Seconds that a writer waits for another writer."""
_NEXT_TRY = 0.001
"""Seconds until it tries again."""
POOL_SIZE = 8
_WRITE = "write"


class Database:
    """An engine, with sessions for reading and for writing."""

    def __init__(self, url: str) -> None:
        self.url = _known(url)
        self.file = _file(self.url)
        self.engine = _sqlite_engine(self.url) if self.file else _postgres_engine(self.url)
        self.waited: Callable[[float], object] = lambda _: None
        """Called with the number of seconds that a writer waited for its turn."""
        # A SQLite transaction always sees one state.
        self._reading = self.engine if self.file else self.engine.execution_options(isolation_level="REPEATABLE READ")
        self._writing = self.engine.execution_options(**{_WRITE: True})
        # Writers of one process queue here, in order and without a connection. SQLite has no queue: its waiters sleep
        # and retry, and under load some of them sleep for a long time.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.file else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one state of the database."""
        with Session(self._reading) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose transaction may write from its first statement; commit at the end."""
        began = time.monotonic()
        with self._turn, Session(self._writing, expire_on_commit=False) as session, session.begin():
            session.connection()  # begins the transaction, and so waits for writers of other processes
            self.waited(time.monotonic() - began)
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield a plain connection whose transactions may write."""
        with self._turn, self._writing.connect() as connection:
            yield connection

    def fault(self) -> str | None:
        """Return None when the database accepts writes, else the reason why not. Another writer is not a fault, and is
        not waited for."""
        with self.engine.connect() as connection:
            if self.file is None:
                read_only = connection.scalar(text("SHOW transaction_read_only")) == "on"
                return "the server does not accept writes" if read_only else None
            driver = connection.connection.driver_connection
            assert driver is not None, "it is connected"
            try:
                with _impatient(driver):
                    driver.execute("BEGIN IMMEDIATE")  # on a read-only file it begins a reader, without an error
                    try:
                        driver.execute("DELETE FROM alembic_version WHERE false")
                    finally:
                        driver.execute("ROLLBACK")
            except driver.Error as error:
                return None if "locked" in str(error) else str(error)
        return None

    def close(self) -> None:
        """Close every connection; closing the last one of all processes merges SQLite's WAL into the file."""
        self.engine.dispose()


def _known(url: str) -> URL:
    """Given a database's URL, return it with the driver that the tests use. Raises PpmError."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise PpmError("DATABASE_URL: not a URL, such as sqlite:////data/ppm.db") from None
    match parsed.get_backend_name():
        case "sqlite":
            return parsed
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise PpmError(f"DATABASE_URL: the database must be SQLite or Postgres, not {other}")


def _file(url: URL) -> Path | None:
    """Given a database's URL, return SQLite's file, or None for another database. Raises PpmError."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise PpmError("DATABASE_URL: SQLite needs a file, as in sqlite:////data/ppm.db")
    return Path(url.database)


def _postgres_engine(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_pre_ping=True,  # the server may have been restarted
            connect_args={"options": f"-c lock_timeout={BUSY_TIMEOUT:g}s"},
        )
    except ModuleNotFoundError as missing:
        raise PpmError(f"DATABASE_URL: Postgres needs the Python package {missing.name}, which is missing") from None


def _sqlite_engine(url: URL) -> Engine:
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
        connection.isolation_level = None  # the driver must begin no transaction: _begin does, also before DDL
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-2048"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITE, False):
            _begin_to_write(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_to_write(connection: Connection) -> None:
    """Begin a transaction once no other process writes.

    SQLite's own busy handler sleeps longer with every try, up to 100 ms, and this process's other writers would wait
    behind it.
    """
    driver, until = connection.connection.driver_connection, time.monotonic() + BUSY_TIMEOUT
    assert driver is not None, "it is connected"
    with _impatient(driver):
        while (error := _try_to_write(driver)) and "locked" in error and time.monotonic() < until:
            time.sleep(_NEXT_TRY)
        if error:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # raises the error in SQLAlchemy's usual form


def _try_to_write(driver: Any) -> str:
    """Begin a transaction that writes; return SQLite's error message, or an empty text."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except driver.Error as error:
        return str(error)
    return ""


@contextmanager
def _impatient(driver: Any) -> Iterator[None]:
    """Within the block, SQLite waits for no other writer."""
    driver.execute("PRAGMA busy_timeout=0")
    try:
        yield
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT * 1000:.0f}")
