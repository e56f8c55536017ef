"""What the database was before an operation changed it becomes a backup, once users have what they came for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ppmkit.errors import ContainerFailed
from ppmkit.orchestrator import oneoff

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Upgrade

_REMOVE_SECONDS = 60


def is_due(upgrade: Upgrade) -> bool:
    """Return whether there is a snapshot of before: the database was changed, by this process or one before it."""
    return upgrade.fact("way") in ("beside", "hold")


def deadline(upgrade: Upgrade) -> float:
    """Return the seconds after which the step has failed: more than the backup itself may take."""
    return _seconds(upgrade) + 60


def _seconds(upgrade: Upgrade) -> float:
    return upgrade.environment.backup.deadline.total_seconds()


def file_snapshot(upgrade: Upgrade) -> str:
    """Make a backup of the snapshot from before the schema changed, and remove older snapshots.

    The release serves: what goes wrong is said, and fails nothing.
    """
    change = upgrade.change or upgrade.intent.change
    options = ["--kind", "safety" if change is not None and change.service == "steward" else "migration"]
    if upgrade.fact("way") != "hold":
        options += ["--seconds", upgrade.fact("snapshot_seconds") or "0"]
    return _file(upgrade, *options)


def file_replaced(upgrade: Upgrade) -> str:
    """Make a backup of what a restore replaced; where that is damaged, say where it lies."""
    said = _file(upgrade)
    upgrade.note(safety=said)
    return said


def clear(upgrade: Upgrade) -> None:
    """Remove the snapshot, once the journal knows of the backup: who is cut short before that finds both again.

    The one that `rollback --restore` needs stays.
    """
    needed = upgrade.fact("way") == "hold" and upgrade.intent.kind != "restore"
    if upgrade.fact("filed") and not needed:
        with suppress(ContainerFailed):  # the next one that is filed removes it, too
            command = ("remove", upgrade.snapshot)
            oneoff.ask(upgrade.host, upgrade.compose, "steward", command, timeout=_REMOVE_SECONDS)


def _file(upgrade: Upgrade, *options: str) -> str:
    """Make a backup of the snapshot, which stays; return in words what became of it."""
    command = ("file-copy", upgrade.snapshot, "--leave", *options)
    if not upgrade.fact("filed"):
        try:
            done = oneoff.ask(upgrade.host, upgrade.compose, "steward", command, timeout=_seconds(upgrade))
        except ContainerFailed as failed:
            return f"what was there before is no backup, but lies in {upgrade.snapshot} on the volume: {failed.seen}"
        upgrade.note(filed=done["id"])
    return f"what was there before is backup {upgrade.fact('filed')}"
