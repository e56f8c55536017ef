"""A backup made ready to be used: decoded beside the database, verified, on the schema of the release that serves."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ppmkit.config.environment import Model
from ppmkit.errors import PreflightError
from ppmkit.orchestrator import oneoff
from ppmkit.release.migrations import Migrations
from ppmkit.steward import paths

if TYPE_CHECKING:
    from ppmkit.backup.client import Office
    from ppmkit.config.environment import Environment


class Staged(Model):
    """What was made ready."""

    id: str
    name: str
    """For people."""
    created: datetime
    level: str
    """How far it was verified."""
    head: str
    """The revision that it is at now."""
    known: tuple[str, ...]
    """Every revision of the release that serves."""
    said: str
    seconds: float


def place(environment: Environment, name: str) -> str:
    """Return where a backup lies while it is made ready: on the database's own file system, for it may be moved."""
    return str(environment.database.parent / paths.RESTORE / f"{name}.db")


def stage(steward: Office, service: str, wanted: str | datetime, key: str | None, staged: str) -> Staged:
    """Make a backup, or what the database was at a moment, at ``staged``; verify it there, and bring it to the schema
    of a service's release.

    Raises PreflightError when it is not sound, or that release cannot run on it. What was left there before is removed.
    """
    began, host = time.monotonic(), steward.host
    steward.ask("prune", str(PurePosixPath(staged).parent), "none")
    found = _put_together(steward, wanted, key, staged)
    name = "what was shipped" if isinstance(wanted, datetime) else f"backup {found['id']}"
    said = f"{found['id']}, {found['rows']:,} rows, {found['level']} holds"
    fits = Migrations.model_validate(on_copy(steward, service, staged, "migrations"))
    if fits.misfit:
        raise PreflightError(
            f"{host.name}: the release that serves cannot run on {name}: {fits.misfit}",
            host=host.name,
            next="Deploy the release that it is of, or a newer one, and try then",
        )
    if fits.pending:
        on_copy(steward, service, staged, "migrate", "--no-snapshot")
        said += f"; its schema was brought from {fits.current} to {fits.head}"
    return Staged(
        id=found["id"],
        name=name,
        created=found["created"],
        level=found["level"],
        head=fits.head,
        known=fits.known,
        said=said,
        seconds=round(time.monotonic() - began, 3),
    )


def _put_together(steward: Office, wanted: str | datetime, key: str | None, staged: str) -> dict[str, Any]:
    """Return what lies at ``staged`` now."""
    found: dict[str, Any]
    if isinstance(wanted, datetime):
        found = steward.ask("stage-at", wanted.isoformat(), staged)
    else:
        found = steward.ask("stage", "--", wanted, staged, key=key)
    return found


def on_copy(steward: Office, service: str, copy: str, *command: str) -> Any:
    """Run a command of the application's image on a copy of the database; return what it answers."""
    timeout = steward.host.environment.upgrade.migrate_timeout.total_seconds()
    variables = {"DATABASE_URL": f"sqlite:///{copy}"}
    return oneoff.ask(steward.host, steward.compose, service, ("ppm", *command), timeout=timeout, variables=variables)
