"""`ppmctl restore`: a backup takes the database's place while requests wait. Read RESTORE_STEPS from top to bottom.

It is an upgrade to the same release: the idle colour starts, and waits for the database; the hold stops the old one,
gives what is there another name, puts the backup in its place and lets the new colour in. All that takes long comes
before: the backup is decoded, verified down to the digests, brought to the schema of the release, and the real api
reads and writes on a copy of it. What was there becomes a backup afterwards.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from ppmkit.backup import preserve
from ppmkit.backup.client import Office, give_place, identity, refuse_strange
from ppmkit.backup.point_in_time import refuse_unless_shipped, shipped
from ppmkit.config.environment import Model
from ppmkit.database import hold, journal_mode, migrate
from ppmkit.database.migrate import Change
from ppmkit.errors import DatabaseDamaged, UsageError
from ppmkit.operation import journal, transaction
from ppmkit.operation.hosts import locked, opened
from ppmkit.operation.journal import Intent
from ppmkit.operation.transaction import Step, Upgrade
from ppmkit.orchestrator import oneoff
from ppmkit.orchestrator.stack import look
from ppmkit.release.model import other
from ppmkit.restore.open_files import refuse_strangers
from ppmkit.restore.staging import Staged, place, stage
from ppmkit.upgrade.rollback import Confirm, by_table, find_change
from ppmkit.upgrade.rollout import STEPS

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.host.host import Host
    from ppmkit.operation.transaction import Watcher
    from ppmkit.orchestrator.stack import Stack


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
    watcher: Watcher,
    confirm: Confirm,
    wanted: str | datetime,
    target: str | None = None,
) -> Restored:
    """Put a backup, or what the database was at a moment, in the place of the database of one host.

    ``confirm`` is asked before anything is changed. With a target the backup is fetched from there.
    """
    from ppmkit.actions import recover

    if isinstance(wanted, str):
        refuse_strange([wanted], environment.name)
    began, key = time.monotonic(), identity(environment)
    with locked(environment, address, "restore") as host:
        recover.clear(host, None, watcher)
        stack = look(host)
        intent = _intent(host, stack)
        journal_mode.refuse_unless_wal(host)
        with opened(host, intent, stack, watcher) as upgrade:
            give_place(host, intent.release.images.steward)
            steward = Office(host, upgrade.compose)
            if isinstance(wanted, datetime):
                refuse_unless_shipped(shipped(steward), wanted)
            elif target:
                wanted = str(steward.ask("fetch", "--", target, wanted)["id"])
            try:
                found = _stage(upgrade, steward, wanted, key)
                lost = _lost(steward, _staged(upgrade))
                confirm(_question(host, found, lost))
                refuse_strangers(steward, stack)
            except BaseException:
                _remove_staged(upgrade)
                raise
            change = _change(upgrade, steward, found.name)
            upgrade.intent = intent.model_copy(update={"change": change})
            upgrade.note(schema_before="", schema_after=found.head, revisions=" ".join(found.known))
            transaction.run(upgrade, RESTORE_STEPS)
        return Restored(
            host=host.name,
            id=found.id,
            outcome="ok",
            seconds=round(time.monotonic() - began, 3),
            held_seconds=float(upgrade.fact("held") or 0),
            lost=lost,
            safety=upgrade.fact("safety") or "",
            evidence=found.level,
            failed=upgrade.fact("failed") or "",
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


def _stage(upgrade: Upgrade, steward: Office, wanted: str | datetime, key: str | None) -> Staged:
    """Make what takes its place ready beside the database."""
    watcher, name = upgrade.watcher, upgrade.host.name
    watcher.step(name, "verify")
    found = stage(steward, f"api-{upgrade.intent.live}", wanted, key, _staged(upgrade))
    watcher.done(name, "verify", found.seconds, found.said)
    return found


def _change(upgrade: Upgrade, steward: Office, name: str) -> Change:
    staged, database = _staged(upgrade), str(upgrade.environment.database)
    marked = steward.ask("fingerprint", staged)["fingerprint"]
    command = ("take", staged, database, marked)
    return Change(way="hold", service="steward", command=command, replaces=True, said=name)


def _staged(upgrade: Upgrade) -> str:
    """Return where the backup lies, as a database, until it takes its place; on the database's own file system."""
    return place(upgrade.environment, upgrade.intent.operation)


def _remove_staged(upgrade: Upgrade) -> None:
    oneoff.ask(upgrade.host, upgrade.compose, "steward", ("remove", _staged(upgrade)), timeout=60)


def _lost(steward: Office, staged: str) -> dict[str, int] | None:
    """Return {table: rows that the database has and the backup has not}, or None when it is too damaged to tell."""
    try:
        found: dict[str, int] = steward.ask("since", staged, str(steward.host.environment.database))
    except DatabaseDamaged:
        return None
    return found


def _question(host: Host, found: Staged, lost: dict[str, int] | None) -> str:
    if lost is None:
        return f"{host.name}: what is there is damaged; {found.name} is of {found.created:%F %T} UTC. Go on?"
    return (
        f"{host.name}: {found.name} is of {found.created:%F %T} UTC. {sum(lost.values()):,} rows were written "
        f"since, or are otherwise there{by_table(lost)}; they go, and stay in a backup of what is there now. Go on?"
    )


def close(upgrade: Upgrade) -> str:
    """Keep the idle colour from the database, until the backup is in its place: it would serve the old one.

    Who will put it there holds the lock from now on. On the way here again, nobody of the idle colour may run yet.
    """
    host, change, name = upgrade.host, upgrade.change, hold.doer(upgrade)
    assert change is not None, "a restore always has one"
    if hold.waits(upgrade) or hold.is_under_way(upgrade):
        return "is closed"
    if early := [c.id for c in upgrade.look_again().active("api", upgrade.target)]:
        host.docker.container.stop(early)
    command = ("--alone", str(upgrade.environment.database), "--on-signal", *change.command)
    oneoff.start_waiting(host, upgrade.compose, "steward", name, command)
    oneoff.await_waiting(host, name)
    return "the idle colour waits for the backup"


def reopen(upgrade: Upgrade) -> None:
    """Let whoever wants to use the database again; if it is still the one that it was, it has one name again."""
    oneoff.remove(upgrade.host, hold.doer(upgrade))
    command = ("drop", str(migrate.database(upgrade)), upgrade.snapshot)
    oneoff.ask(upgrade.host, upgrade.compose, "steward", command, timeout=60)


def forget(upgrade: Upgrade) -> None:
    """Remove the backup that was to take the database's place."""
    _remove_staged(upgrade)


def file_present(upgrade: Upgrade) -> str:
    """Make a backup of what was replaced."""
    forget(upgrade)
    return preserve.file_replaced(upgrade)


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
