"""The migration contract: what this release's revisions are, what a database lacks, and whether the two fit.

Each revision says ``compatibility = "expand"`` (the release before it can run on it) or ``"breaking"``;
nothing means breaking. The table ``schema_floor`` holds the oldest revision whose release may still run: an
`expand` leaves it, a `breaking` raises it. Applying revisions, and taking them back, is in ``app/migrate.py``.
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
    """Return what Alembic needs to find the revisions."""
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
    """Return this release's revisions, oldest first, as their files are named.

    Alembic, which knows them too, takes as long to load as a fifth of all other code: who serves a database as it is
    does without.
    """
    return sorted(file.stem.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def head() -> str:
    """Return the newest revision of this release."""
    return names()[-1]


def compatibility(script: Script) -> str:
    """Return `expand` or `breaking`; what is not said is breaking."""
    return "expand" if getattr(script.module, "compatibility", None) == "expand" else "breaking"


def floor_of(revision: str) -> str:
    """Return the oldest revision whose release may run on a database at this revision of ours."""
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
    found: str | None = connection.execute(text(f"SELECT {column} FROM {table}")).scalar()  # noqa: S608
    return found


def pending(database: Database) -> dict[str, Any]:
    """Return {current, head, known, irreversible, pending: [{revision, compatibility, summary}], misfit}.

    ``misfit`` says why this release could not run on the database even after it has migrated.
    """
    now = reason = None
    if database.file is None or database.file.exists():  # asking must not create the file
        with database.read() as session:
            now = current(session.connection())
    ours = list(revisions().values())
    if now is None:
        missing = ours
    elif now in revisions():
        missing = ours[list(revisions()).index(now) + 1 :]
    else:
        missing = []  # a newer release has been here: nothing of ours is pending
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
    """Return None when this release can run on the database, else why it cannot."""
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
    """Return the file beside SQLite's that is locked while the database changes as a whole; None for another one."""
    return Path(f"{database.file}.migrating") if database.file else None


def await_fit(database: Database, told: Callable[[float], bool]) -> bool:
    """Wait until this release can run on the database; return False when told to stop before.

    ``told`` waits for so many seconds and returns whether it was.

    A release that starts while another migrates waits here, before it listens: whoever is sent to it meanwhile
    is refused, which has cost nothing, and may knock again.
    """
    said = None
    while reason := _why_not(database):
        if reason != said:
            log.warning("waiting: %s", reason)
        said = reason
        if told(_WAIT_SECONDS):
            return False
    return True


def _why_not(database: Database) -> str | None:
    """Return None when this release fits. The file is not open afterwards unless it does: it may be replaced."""
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
