"""What the database was before an operation changed it becomes a backup, once users have what they came for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ppmkit.errors import ContainerFailed
from ppmkit.operation.findings import Findings
from ppmkit.orchestrator import oneoff

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation

_REMOVE_SECONDS = 60


def is_due(operation: Operation) -> bool:
    """Return whether there is a snapshot of before: the database was changed, by this process or one before it."""
    return operation.findings.way in ("beside", "hold")


def deadline(operation: Operation) -> float:
    """Return the seconds after which the step has failed: more than the backup itself may take."""
    return _seconds(operation) + 60


def _seconds(operation: Operation) -> float:
    return operation.environment.backup.deadline.total_seconds()


def file_snapshot(operation: Operation) -> str:
    """Make a backup of the snapshot from before the schema changed, and remove older snapshots.

    The release serves: what goes wrong is said, and fails nothing.
    """
    change = operation.change or operation.intent.change
    options = ["--kind", "safety" if change is not None and change.service == "steward" else "migration"]
    if not operation.held:
        options += ["--seconds", f"{operation.findings.snapshot_seconds or 0:g}"]
    return _file(operation, *options)


def file_replaced(operation: Operation) -> str:
    """Make a backup of what a restore replaced; where that is damaged, say where it lies."""
    said = _file(operation)
    operation.note(Findings(safety=said))
    return said


def clear(operation: Operation) -> None:
    """Remove the snapshot, once the journal knows of the backup: who is cut short before that finds both again.

    The one that `rollback --restore` needs stays.
    """
    needed = operation.held and operation.intent.kind != "restore"
    if operation.findings.filed and not needed:
        with suppress(ContainerFailed):  # the next one that is filed removes it, too
            command = ("remove", operation.snapshot)
            oneoff.ask(operation.host, operation.compose, "steward", command, timeout=_REMOVE_SECONDS)


def _file(operation: Operation, *options: str) -> str:
    """Make a backup of the snapshot, which stays; return in words what became of it."""
    command = ("file-copy", operation.snapshot, "--leave", *options)
    if not operation.findings.filed:
        try:
            done = oneoff.ask(operation.host, operation.compose, "steward", command, timeout=_seconds(operation))
        except ContainerFailed as failed:
            return f"what was there before is no backup, but lies in {operation.snapshot} on the volume: {failed.seen}"
        operation.note(Findings(filed=done["id"]))
    return f"what was there before is backup {operation.findings.filed}"
