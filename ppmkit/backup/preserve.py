"""Make a backup of the database from before an operation's change, once users are served."""

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
    """Return whether there is a snapshot: this process, or an earlier one of the operation, changed the database."""
    return operation.findings.way in ("beside", "hold")


def deadline(operation: Operation) -> float:
    """Return the step's deadline in seconds: longer than the backup's own."""
    return _seconds(operation) + 60


def _seconds(operation: Operation) -> float:
    return operation.environment.backup.deadline.total_seconds()


def file_snapshot(operation: Operation) -> str:
    """Make a backup of the snapshot from before the schema changed, and remove older snapshots.

    The release serves already, so a failure is only reported.
    """
    change = operation.change or operation.intent.change
    options = ["--kind", "safety" if change is not None and change.service == "steward" else "migration"]
    if not operation.held:
        options += ["--seconds", f"{operation.findings.snapshot_seconds or 0:g}"]
    return _file(operation, *options)


def file_replaced(operation: Operation) -> str:
    """Make a backup of the database that a restore replaced; if it is damaged, report its path."""
    outcome = _file(operation)
    operation.note(Findings(safety=outcome))
    return outcome


def clear(operation: Operation) -> None:
    """Remove the snapshot, once the journal has the backup's id: an operation interrupted before that needs both.

    A snapshot that `rollback --restore` needs stays.
    """
    needed = operation.held and operation.intent.kind != "restore"
    if operation.findings.filed and not needed:
        with suppress(ContainerFailed):  # the next backup of a snapshot removes it too
            command = ("remove", operation.snapshot)
            oneoff.ask(operation.host, operation.compose, "steward", command, timeout=_REMOVE_SECONDS)


def _file(operation: Operation, *options: str) -> str:
    """Make a backup of the snapshot, which stays; return the outcome."""
    command = ("file-copy", operation.snapshot, "--leave", *options)
    if not operation.findings.filed:
        try:
            backup = oneoff.ask(operation.host, operation.compose, "steward", command, timeout=_seconds(operation))
        except ContainerFailed as failed:
            return f"no backup of the previous database; it is in {operation.snapshot} on the volume: {failed.seen}"
        operation.note(Findings(filed=backup["id"]))
    return f"the previous database is backup {operation.findings.filed}"
