"""Staging of a backup: decoded next to the database, verified, and migrated to the live release's schema."""

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
    from ppmkit.backup.client import StewardClient
    from ppmkit.config.environment import Environment


class Staged(Model):
    """A staged backup."""

    id: str
    name: str
    """Its name in messages."""
    created: datetime
    level: str
    """How far it was verified."""
    head: str
    """Its schema revision now."""
    known: tuple[str, ...]
    """Every revision of the live release."""
    said: str
    seconds: float


def place(environment: Environment, name: str) -> str:
    """Return the path of a staged backup: on the database's file system, so that it can be moved."""
    return str(environment.database.parent / paths.RESTORE / f"{name}.db")


def stage(steward: StewardClient, service: str, wanted: str | datetime, key: str | None, staged: str) -> Staged:
    """Stage a backup, or the database as of a time, at ``staged``; verify it there, and migrate it to the schema of a
    service's release.

    Raises PreflightError when it is not sound, or that release cannot run on it. Files left there before are removed.
    """
    began, host = time.monotonic(), steward.host
    steward.ask("prune", str(PurePosixPath(staged).parent), "none")
    backup = _fetch(steward, wanted, key, staged)
    name = "what was shipped" if isinstance(wanted, datetime) else f"backup {backup['id']}"
    summary = f"{backup['id']}, {backup['rows']:,} rows, {backup['level']} passed"
    schema = Migrations.model_validate(on_copy(steward, service, staged, "migrations"))
    if schema.misfit:
        raise PreflightError(
            f"{host.name}: the release that serves cannot run on {name}: {schema.misfit}",
            host=host.name,
            next="Deploy the release that it was made with, or a newer one, then try again",
        )
    if schema.pending:
        on_copy(steward, service, staged, "migrate", "--no-snapshot")
        summary += f"; its schema was migrated from {schema.current} to {schema.head}"
    return Staged(
        id=backup["id"],
        name=name,
        created=backup["created"],
        level=backup["level"],
        head=schema.head,
        known=schema.known,
        said=summary,
        seconds=round(time.monotonic() - began, 3),
    )


def _fetch(steward: StewardClient, wanted: str | datetime, key: str | None, staged: str) -> dict[str, Any]:
    """Write the database to ``staged``; return the steward's description of it."""
    answer: dict[str, Any]
    if isinstance(wanted, datetime):
        answer = steward.ask("stage-at", wanted.isoformat(), staged)
    else:
        answer = steward.ask("stage", "--", wanted, staged, key=key)
    return answer


def on_copy(steward: StewardClient, service: str, copy: str, *command: str) -> Any:
    """Run a command of the application's image on a copy of the database; return its answer."""
    timeout = steward.host.environment.upgrade.migrate_timeout.total_seconds()
    variables = {"DATABASE_URL": f"sqlite:///{copy}"}
    return oneoff.ask(steward.host, steward.compose, service, ("ppm", *command), timeout=timeout, variables=variables)
