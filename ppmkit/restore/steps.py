"""`ppmctl restore`: a backup takes the database's place while requests wait. Read RESTORE_STEPS from top to bottom.

It is an upgrade to the same release: the idle colour starts, and waits for the database; the hold stops the old one,
gives what is there another name, puts the backup in its place and lets the new colour in. All that takes long comes
before: the backup is decoded, verified down to the digests, brought to the schema of the release, and the real api
reads and writes on a copy of it. What was there becomes a backup afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from ppmkit.backup import preserve
from ppmkit.backup.client import Office
from ppmkit.database import hold, migrate
from ppmkit.errors import DatabaseDamaged
from ppmkit.operation.journal import Change
from ppmkit.operation.transaction import Operation, Step
from ppmkit.orchestrator import oneoff
from ppmkit.restore.staging import Staged, place, stage
from ppmkit.upgrade.rollback import find_change
from ppmkit.upgrade.steps import STEPS

if TYPE_CHECKING:
    pass


def stage_backup(operation: Operation, steward: Office, wanted: str | datetime, key: str | None) -> Staged:
    """Make what takes its place ready beside the database."""
    progress, name = operation.progress, operation.host.name
    progress.step(name, "verify")
    found = stage(steward, f"api-{operation.intent.live}", wanted, key, staged_path(operation))
    progress.done(name, "verify", found.seconds, found.said)
    return found


def replacement(operation: Operation, steward: Office, name: str) -> Change:
    staged, database = staged_path(operation), str(operation.environment.database)
    marked = steward.ask("fingerprint", staged)["fingerprint"]
    command = ("take", staged, database, marked)
    return Change(way="hold", service="steward", command=command, replaces=True, said=name)


def staged_path(operation: Operation) -> str:
    """Return where the backup lies, as a database, until it takes its place; on the database's own file system."""
    return place(operation.environment, operation.intent.operation)


def remove_staged(operation: Operation) -> None:
    oneoff.ask(operation.host, operation.compose, "steward", ("remove", staged_path(operation)), timeout=60)


def count_lost(steward: Office, staged: str) -> dict[str, int] | None:
    """Return {table: rows that the database has and the backup has not}, or None when it is too damaged to tell."""
    try:
        found: dict[str, int] = steward.ask("since", staged, str(steward.host.environment.database))
    except DatabaseDamaged:
        return None
    return found


def close(operation: Operation) -> str:
    """Keep the idle colour from the database, until the backup is in its place: it would serve the old one.

    Who will put it there holds the lock from now on. On the way here again, nobody of the idle colour may run yet.
    """
    host, replacement, name = operation.host, operation.change, hold.change_container(operation)
    assert replacement is not None, "a restore always has one"
    if hold.waits(operation) or hold.is_under_way(operation):
        return "is closed"
    if early := [c.id for c in operation.refresh().active("api", operation.target)]:
        host.docker.container.stop(early)
    command = ("--alone", str(operation.environment.database), "--on-signal", *replacement.command)
    oneoff.start_waiting(host, operation.compose, "steward", name, command)
    oneoff.await_waiting(host, name)
    return "the idle colour waits for the backup"


def reopen(operation: Operation) -> None:
    """Let whoever wants to use the database again; if it is still the one that it was, it has one name again."""
    oneoff.remove(operation.host, hold.change_container(operation))
    command = ("drop", str(migrate.database(operation)), operation.snapshot)
    oneoff.ask(operation.host, operation.compose, "steward", command, timeout=60)


def forget(operation: Operation) -> None:
    """Remove the backup that was to take the database's place."""
    remove_staged(operation)


def file_present(operation: Operation) -> str:
    """Make a backup of what was replaced."""
    forget(operation)
    return preserve.file_replaced(operation)


_REUSED = {step.name: step for step in STEPS}
RESTORE_STEPS: tuple[Step, ...] = (
    _REUSED["watch"],
    Step("schema", find_change, undo=forget),
    _REUSED["rehearse"],
    Step("close", close, undo=reopen, deadline=preserve.deadline),
    _REUSED["start"],
    _REUSED["hold"],
    _REUSED["ready"],
    replace(_REUSED["switch"], final=True),
    _REUSED["worker"],
    _REUSED["drain"],
    Step("keep", file_present, deadline=preserve.deadline),
    _REUSED["steward"],
    _REUSED["record"],  # the last: what it removes of the hold tells whoever goes on that there was one
)
