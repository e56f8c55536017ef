"""`ppmctl restore`: a backup, or a moment between two, in the place of the database of one host."""

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
    """How it went; what `restore --json` prints."""

    host: str
    id: str
    outcome: str
    seconds: float
    held_seconds: float
    """How long requests waited, at most."""
    lost: dict[str, int] | None
    """{table: rows that were written since the backup}; they are in the safety backup. None when what was there is
    too damaged to tell."""
    safety: str
    """Where what was replaced is now, for people."""
    evidence: str
    """How far the backup was verified before."""
    failed: str = ""
    """What failed while requests waited, in words; empty when nothing did."""


def restore(
    environment: Environment,
    address: HostAddress,
    progress: Progress,
    confirm: Confirm,
    wanted: str | datetime,
    target: str | None = None,
) -> Restored:
    """Put a backup, or what the database was at a moment, in the place of the database of one host.

    ``confirm`` is asked before anything is changed. With a target the backup is fetched from there.
    """
    if isinstance(wanted, str):
        refuse_invalid_ids([wanted], environment.name)
    began, key = time.monotonic(), identity(environment)
    with locked(environment, address, "restore") as host:
        recover.clear(host, None, progress)
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
                found = stage_backup(operation, steward, wanted, key)
                lost = count_lost(steward, staged_path(operation))
                confirm(_question(host, found, lost))
                refuse_foreign_processes(steward, stack)
            except BaseException:
                remove_staged(operation)
                raise
            change = replacement(operation, steward, found.name)
            operation.intent = intent.model_copy(update={"change": change})
            operation.note(Findings(schema_before="", schema_after=found.head, revisions=found.known))
            transaction.run(operation, RESTORE_STEPS)
        return Restored(
            host=host.name,
            id=found.id,
            outcome="ok",
            seconds=round(time.monotonic() - began, 3),
            held_seconds=operation.findings.held or 0.0,
            lost=lost,
            safety=operation.findings.safety or "",
            evidence=found.level,
            failed=operation.findings.failed or "",
        )


def _intent(host: Host, stack: Stack) -> Intent:
    """Return what it is about: the release that serves, in the other colour. Raises UsageError when none serves."""
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


def _question(host: Host, found: Staged, lost: dict[str, int] | None) -> str:
    if lost is None:
        return f"{host.name}: what is there is damaged; {found.name} is of {found.created:%F %T} UTC. Go on?"
    return (
        f"{host.name}: {found.name} is of {found.created:%F %T} UTC. {sum(lost.values()):,} rows were written "
        f"since, or are otherwise there{by_table(lost)}; they go, and stay in a backup of what is there now. Go on?"
    )
