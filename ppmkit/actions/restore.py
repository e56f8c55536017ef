"""`ppmctl restore`: replace a host's database by a backup, or by its state at a given time."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from ppmkit.actions import recover
from ppmkit.actions.rollback import by_table
from ppmkit.backup.client import StewardClient, identity, prepare_directories, refuse_invalid_ids
from ppmkit.backup.point_in_time import refuse_unless_recoverable, shipped_windows
from ppmkit.config.environment import Model
from ppmkit.database import journal_mode
from ppmkit.errors import UsageError
from ppmkit.host.session import locked
from ppmkit.operation import journal, transaction
from ppmkit.operation.findings import Findings
from ppmkit.operation.hosts import opened
from ppmkit.operation.journal import Intent
from ppmkit.orchestrator.stack import inspect
from ppmkit.progress import Confirm
from ppmkit.release.model import other
from ppmkit.restore.open_files import refuse_foreign_processes
from ppmkit.restore.staging import Staged
from ppmkit.restore.steps import RESTORE_STEPS, count_lost, remove_staged, replacement, stage_backup, staged_path

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.host.host import Host
    from ppmkit.orchestrator.stack import Stack
    from ppmkit.progress import Progress


class Restored(Model):
    """The result; output of `restore --json`."""

    host: str
    id: str
    outcome: str
    seconds: float
    held_seconds: float
    """How long requests waited, at most."""
    lost: dict[str, int] | None
    """{table: rows that were written since the backup}; they are in the safety backup. None when the replaced database
    is too damaged to count them."""
    safety: str
    """Where the replaced database is now, as text."""
    evidence: str
    """The level to which the backup was verified first."""
    failed: str = ""
    """What failed while requests waited, as text; empty when nothing did."""


def restore(
    environment: Environment,
    address: HostAddress,
    progress: Progress,
    confirm: Confirm,
    wanted: str | datetime,
    target: str | None = None,
) -> Restored:
    """Replace a host's database by a backup, or by its state at a given time.

    ``confirm`` asks before anything is changed. With a target, the backup is fetched from there.
    """
    if isinstance(wanted, str):
        refuse_invalid_ids([wanted], environment.name)
    began, key = time.monotonic(), identity(environment)
    with locked(environment, address, "restore") as host:
        recover.end_unfinished(host, None, progress)
        stack = inspect(host)
        intent = _intent(host, stack)
        journal_mode.refuse_unless_wal(host)
        with opened(host, intent, stack, progress) as operation:
            prepare_directories(host, intent.release.images.steward)
            steward = StewardClient(host, operation.compose)
            if isinstance(wanted, datetime):
                refuse_unless_recoverable(shipped_windows(steward), wanted)
            elif target:
                wanted = str(steward.ask("fetch", "--", target, wanted)["id"])
            try:
                staged = stage_backup(operation, steward, wanted, key)
                lost = count_lost(steward, staged_path(operation))
                confirm(_question(host, staged, lost))
                refuse_foreign_processes(steward, stack)
            except BaseException:
                remove_staged(operation)
                raise
            change = replacement(operation, steward, staged.name)
            operation.intent = intent.model_copy(update={"change": change})
            operation.note(Findings(schema_before="", schema_after=staged.head, revisions=staged.known))
            transaction.run(operation, RESTORE_STEPS)
        return Restored(
            host=host.name,
            id=staged.id,
            outcome="ok",
            seconds=round(time.monotonic() - began, 3),
            held_seconds=operation.findings.held or 0.0,
            lost=lost,
            safety=operation.findings.safety or "",
            evidence=staged.level,
            failed=operation.findings.failed or "",
        )


def _intent(host: Host, stack: Stack) -> Intent:
    """Return the intent: the release that serves, in the other color. Raises UsageError when none serves."""
    record = stack.record
    if record is None or stack.live is None:
        raise UsageError(f"{host.name}: nothing is deployed", next=f"ppmctl deploy -e {host.environment.name}")
    return Intent(
        operation=journal.new_operation(),
        kind="restore",
        release=record.release,
        target=other(stack.live),
        live=stack.live,
        previous=record.id,
        back=record.previous,
        source=record.source,
    )


def _question(host: Host, staged: Staged, lost: dict[str, int] | None) -> str:
    source = f"{host.name}: {staged.name} is from {staged.created:%F %T} UTC"
    if lost is None:
        return f"{source}; the current database is damaged. Continue?"
    return (
        f"{source}. Restoring it discards {sum(lost.values()):,} rows written since, or missing in it for another "
        f"reason{by_table(lost)}. The current database becomes a backup. Continue?"
    )
