"""The migration contract: this release's revisions, what a database lacks, and whether the two fit.

Each revision declares ``compatibility = "expand"`` (the previous release can run on it) or ``"breaking"``; without a
declaration it is breaking. The table ``schema_floor`` holds the oldest revision whose release may still run: an
`expand` revision leaves it, a `breaking` one raises it. ``app/migrate.py`` applies and reverts revisions.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

MIGRATIONS = Path(__file__).parent / "migrations"
FLOOR = "schema_floor"
_WAIT_SECONDS = 0.1
log = logging.getLogger(__name__)


def alembic() -> Config:
    """Return the configuration that Alembic needs to find the revisions."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


@cache
def revisions() -> dict[str, Script]:
    """Return this release's revisions by name, oldest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic()).walk_revisions()
    return {script.revision: script for script in reversed(list(scripts))}


def names() -> list[str]:
    """Return this release's revisions, oldest first, from the names of their files.

    Alembic, which knows them too, takes as long to import as a fifth of all other code, so a process that does not
    migrate does not import it.
    """
    return sorted(file.stem.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def head() -> str:
    """Return the newest revision of this release."""
    return names()[-1]


def compatibility(script: Script) -> str:
    """Return `expand` or `breaking`; a revision without a declaration is breaking."""
    return "expand" if getattr(script.module, "compatibility", None) == "expand" else "breaking"


def floor_of(revision: str) -> str:
    """Return the oldest revision whose release may run on a database at this revision of this release."""
    names = list(revisions())
    before = names[: names.index(revision) + 1]
    raising = [name for name in before[1:] if compatibility(revisions()[name]) == "breaking"]
    return raising[-1] if raising else before[0]


def described(script: Script) -> dict[str, str]:
    """Return {revision, compatibility, summary}."""
    return {
        "revision": script.revision,
        "compatibility": compatibility(script),
        "summary": (script.doc or "").strip(),
    }


def current(connection: Connection) -> str | None:
    """Return the database's revision, or None for an empty database."""
    return _only_value(connection, "alembic_version", "version_num")


def floor(connection: Connection) -> str | None:
    """Return the oldest revision whose release may run on the database."""
    return _only_value(connection, FLOOR, "revision")


def _only_value(connection: Connection, table: str, column: str) -> str | None:
    if not inspect(connection).has_table(table):
        return None
    value: str | None = connection.execute(text(f"SELECT {column} FROM {table}")).scalar()  # noqa: S608
    return value


def pending(database: Database) -> dict[str, Any]:
    """Return {current, head, known, irreversible, pending: [{revision, compatibility, summary}], misfit}.

    ``misfit`` says why this release could not run on the database even after it has migrated.
    """
    now = reason = None
    if database.file is None or database.file.exists():  # reading must not create the file
        with database.read() as session:
            now = current(session.connection())
    ours = list(revisions().values())
    if now is None:
        missing = ours
    elif now in revisions():
        missing = ours[list(revisions()).index(now) + 1 :]
    else:
        missing = []  # a newer release has migrated the database: none of this release's revisions is pending
        reason = misfit(database)
    return {
        "current": now,
        "head": head(),
        "known": list(revisions()),
        "irreversible": [name for name, s in revisions().items() if not hasattr(s.module, "downgrade")],
        "misfit": reason,
        "pending": [described(script) for script in missing],
    }


def misfit(database: Database) -> str | None:
    """Return None when this release can run on the database, else the reason why not."""
    with database.read() as session:
        now, oldest = current(session.connection()), floor(session.connection())
    ours = head()
    if now == ours:
        return None
    if now is None or now in names():
        return f"the database is at {now or 'nothing'}, this release needs {ours}"
    if oldest in names():
        return None
    return f"the database is at {now}, and releases before {oldest} cannot run on it; this one is {ours}"


def lock_file(database: Database) -> Path | None:
    """Return the file next to SQLite's that is locked while the whole database changes; None for another database."""
    return Path(f"{database.file}.migrating") if database.file else None


def await_fit(database: Database, told: Callable[[float], bool]) -> bool:
    """Wait until this release can run on the database; return False when told to stop before that.

    ``told`` waits for the given number of seconds, and returns whether the process was told to stop.

    A release that starts while another one migrates waits here, before it listens: a connection to it is refused
    meanwhile, which loses nothing, and may be retried.
    """
    logged = None
    while reason := _why_not(database):
        if reason != logged:
            log.warning("waiting: %s", reason)
        logged = reason
        if told(_WAIT_SECONDS):
            return False
    return True


def _why_not(database: Database) -> str | None:
    """Return None when this release fits the database, else the reason why not. In that case the file is not open
    afterwards, because it may be replaced."""
    path = lock_file(database)
    if path is None:
        return misfit(database)
    if database.file is None or not database.file.exists():
        return "there is no database yet"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "the database is being migrated or restored"
        try:
            reason = misfit(database)
        except SQLAlchemyError as error:
            reason = str(error)
        if reason:
            database.close()
        return reason
