"""What the database was before an operation changed it becomes a backup, once users have what they came for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy import container
from deploy.errors import UpgradeError

if TYPE_CHECKING:
    from deploy.transaction import Upgrade


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

    The one that `rollback --restore` needs stays. The release serves: what goes wrong is said, and fails nothing.
    """
    change = upgrade.change or upgrade.intent.change
    options = ["--kind", "safety" if change is not None and change.service == "steward" else "migration"]
    if upgrade.fact("way") == "hold":
        options.append("--leave")
    else:
        options += ["--seconds", upgrade.fact("snapshot_seconds") or "0"]
    try:
        return f"what was there before is backup {_file(upgrade, *options)['id']}"
    except UpgradeError as failed:
        return f"no backup of what was there before, which lies in {upgrade.snapshot} on the volume: {failed.seen}"


def file_replaced(upgrade: Upgrade) -> str:
    """Make a backup of what a restore replaced; where that is damaged, say where it lies."""
    try:
        said = f"what was there before is backup {_file(upgrade)['id']}"
    except UpgradeError as failed:
        said = f"what was there before lies as it was in {upgrade.snapshot} on the volume: {failed.seen}"
    upgrade.note(safety=said)
    return said


def _file(upgrade: Upgrade, *options: str) -> dict[str, str]:
    command = ("file-copy", upgrade.snapshot, *options)
    done: dict[str, str] = container.ask(upgrade.host, upgrade.compose, "steward", command, timeout=_seconds(upgrade))
    return done
