"""`ppmctl restore`: replace the database by a backup while requests wait. Read RESTORE_STEPS from top to bottom.

A restore is an upgrade to the same release: the idle color starts and waits for the database; the hold stops the old
color, renames the current database, moves the backup to its place and lets the new color open it. Everything slow
happens before: the backup is decoded, verified down to the digests and migrated to the release's schema, and the real
api reads and writes on a copy of it. The replaced database becomes a backup afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ppmkit.backup import preserve
from ppmkit.backup.client import StewardClient
from ppmkit.database import hold, migrate
from ppmkit.errors import DatabaseDamaged
from ppmkit.operation.journal import Change
from ppmkit.operation.transaction import Operation, Step
from ppmkit.orchestrator import oneoff
from ppmkit.restore.staging import Staged, place, stage
from ppmkit.upgrade.rollback import find_change
from ppmkit.upgrade.steps import BY_NAME


def stage_backup(operation: Operation, steward: StewardClient, wanted: str | datetime, key: str | None) -> Staged:
    """Stage the backup that is to replace the database, next to it."""
    progress, name = operation.progress, operation.host.name
    progress.step(name, "verify")
    staged = stage(steward, f"api-{operation.intent.live}", wanted, key, staged_path(operation))
    progress.done(name, "verify", staged.seconds, staged.said)
    return staged


def replacement(operation: Operation, steward: StewardClient, name: str) -> Change:
    """Return the change that replaces the database by the staged backup."""
    staged, database = staged_path(operation), str(operation.environment.database)
    fingerprint = steward.ask("fingerprint", staged)["fingerprint"]
    command = ("take", staged, database, fingerprint)
    return Change(way="hold", service="steward", command=command, replaces=True, said=name)


def staged_path(operation: Operation) -> str:
    """Return the path of the staged backup; it is on the database's file system."""
    return place(operation.environment, operation.intent.operation)


def remove_staged(operation: Operation) -> None:
    """Remove the staged backup."""
    oneoff.ask(operation.host, operation.compose, "steward", ("remove", staged_path(operation)), timeout=60)


def count_lost(steward: StewardClient, staged: str) -> dict[str, int] | None:
    """Return {table: rows that the database has and the backup lacks}, or None when the database is too damaged."""
    try:
        lost: dict[str, int] = steward.ask("since", staged, str(steward.host.environment.database))
    except DatabaseDamaged:
        return None
    return lost


def close(operation: Operation) -> str:
    """Lock the database so that the idle color cannot open it before the backup is in place.

    The container that will put the backup in place holds the lock from now on. When the step is repeated, containers of
    the idle color that already run are stopped first.
    """
    host, replacement, name = operation.host, operation.change, hold.change_container(operation)
    assert replacement is not None, "a restore always has one"
    if hold.waits(operation) or hold.is_under_way(operation):
        return "is locked already"
    if running := [c.id for c in operation.refresh().active("api", operation.target)]:
        host.docker.container.stop(running)
    command = ("--alone", str(operation.environment.database), "--on-signal", *replacement.command)
    oneoff.start_waiting(host, operation.compose, "steward", name, command)
    oneoff.await_waiting(host, name)
    return "the idle color waits for the backup"


def reopen(operation: Operation) -> None:
    """Unlock the database, and drop the snapshot if it is only another name of the unchanged database."""
    oneoff.remove(operation.host, hold.change_container(operation))
    command = ("drop", str(migrate.database(operation)), operation.snapshot)
    oneoff.ask(operation.host, operation.compose, "steward", command, timeout=60)


def file_present(operation: Operation) -> str:
    """Make a backup of the replaced database."""
    remove_staged(operation)
    return preserve.file_replaced(operation)


RESTORE_STEPS: tuple[Step, ...] = (
    BY_NAME["watch"],
    Step("schema", find_change, undo=remove_staged),
    BY_NAME["rehearse"],
    Step("close", close, undo=reopen, deadline=preserve.deadline),
    BY_NAME["start"],
    BY_NAME["hold"],
    BY_NAME["ready"],
    replace(BY_NAME["switch"], final=True),
    BY_NAME["worker"],
    BY_NAME["drain"],
    Step("keep", file_present, deadline=preserve.deadline),
    BY_NAME["steward"],
    BY_NAME["record"],  # last, because it removes the hold's files, which a resumed operation needs
)
