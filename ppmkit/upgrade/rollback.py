"""`ppmctl rollback`: the release of before, with its own config, secrets and images; and what becomes of the data.

Untouched, when the release of before can run on the schema as it is. Else downgraded, after a rehearsal on a copy.
Else, if asked for, restored from the snapshot of before the migration, which loses what was written since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ppmkit.config.environment import Environment, HostAddress, Model
from ppmkit.database import migrate
from ppmkit.database.migrate import Change
from ppmkit.errors import UpgradeError, UsageError
from ppmkit.operation import journal, transaction
from ppmkit.operation.hosts import locked, on_each_host, opened
from ppmkit.operation.journal import Intent
from ppmkit.operation.transaction import Step, Upgrade
from ppmkit.orchestrator import oneoff
from ppmkit.orchestrator.stack import Stack, look, records
from ppmkit.plan import drift
from ppmkit.release import render
from ppmkit.release.model import Images, Record, other
from ppmkit.upgrade.rollout import STEPS

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.operation.transaction import Watcher

Confirm = Callable[[str], None]
"""Asks a question; raises when the answer is no."""


class Schema(Model):
    """What a database says of itself."""

    revision: str | None
    floor: str | None


class Rollback(Model):
    """How it went on one host; what `rollback --json` prints of each."""

    host: str
    release: str
    previous: str
    data: str
    """untouched, downgraded or restored."""
    served_seconds: float
    """How long it took until users were on the release."""
    seconds: float
    failed: str = ""
    """What failed while requests waited, in words; empty when nothing did, or none waited."""


def rollback(
    environment: Environment, watcher: Watcher, confirm: Confirm, *, release: str | None = None, restore: bool = False
) -> list[Rollback]:
    """Bring back a release (the one before, unless named) on every host, one after another."""
    return on_each_host(
        environment, 1, lambda address, _: _on_host(environment, address, watcher, confirm, release, restore)
    )


def _on_host(
    environment: Environment,
    address: HostAddress,
    watcher: Watcher,
    confirm: Confirm,
    release: str | None,
    restore: bool,
) -> Rollback:
    from ppmkit.actions import recover

    began = time.monotonic()
    with locked(environment, address, "rollback") as host:
        recover.clear(host, None, watcher)
        stack = look(host)
        now, wanted = _choose(host, stack, release)
        assert stack.live is not None, "_choose has seen to that"
        intent = Intent(
            operation=journal.new_operation(),
            kind="rollback",
            release=wanted.release,
            target=other(stack.live),
            live=stack.live,
            previous=now.id,
            back=wanted.previous,
            source=wanted.source,
        )
        with opened(host, intent, stack, watcher) as upgrade:
            change = plan(host, upgrade, now, wanted, restore=restore)
            if change is not None and change.service == "steward":
                confirm(_loss(upgrade, change))
            upgrade.intent = intent.model_copy(update={"change": change})
            _note(upgrade, wanted, change)
            transaction.run(upgrade, ROLLBACK_STEPS)
    data = "untouched" if change is None else "restored" if change.service == "steward" else "downgraded"
    seconds = time.monotonic() - began
    names = [step.name for step in upgrade.times]
    after = sum(step.seconds for step in upgrade.times[names.index("switch") + 1 :])
    return Rollback(
        host=address.name,
        release=wanted.id,
        previous=now.id,
        data=data,
        served_seconds=round(seconds - after, 3),
        seconds=round(seconds, 3),
        failed=upgrade.fact("failed") or "",
    )


def _choose(host: Host, stack: Stack, release: str | None) -> tuple[Record, Record]:
    """Return the records of what serves and of what is to serve again. Raises UsageError when there is none."""
    environment = host.environment.name
    if stack.record is None or stack.live is None:
        raise UsageError(f"{host.name}: nothing is deployed", next=f"ppmctl deploy -e {environment}")
    name = release or stack.record.previous
    if name is None:
        raise UsageError(f"{host.name}: there is no release before {stack.record.id}", next="ppmctl releases")
    if name == stack.record.id:
        raise UsageError(f"{host.name}: release {name} serves already", next="ppmctl releases")
    known = {record.id: record for record in records(host)}
    images = known[name].release.images if name in known else None
    if images is None or not _whole(host, name) or not _there(host, images):
        raise UsageError(
            f"{host.name}: release {name} is not there: it never was, it was pruned, or its files were edited",
            next=f"See which are: ppmctl releases -e {environment}",
        )
    return stack.record, known[name]


def _whole(host: Host, release: str) -> bool:
    """Return whether the release's files are there as they were made."""
    where = host.environment.directory / "releases" / release
    found = {path: host.read(where / path) for path in (render.COMPOSE, drift.ROUTES, drift.CERTIFICATES)}
    return drift.intact(release, {path: text for path, text in found.items() if text is not None})


def _there(host: Host, images: Images) -> bool:
    return all(host.docker.image.exists(reference) for reference in images.by_name().values())


def plan(host: Host, upgrade: Upgrade, now: Record, wanted: Record, *, restore: bool) -> Change | None:
    """Return what the rollback does to the database, or None. Raises UpgradeError when there is no way back."""
    if now.schema_after == wanted.revisions[-1]:
        return None  # not worth a second of asking: a release that cannot run on the schema does not get ready
    command = ("schema", str(migrate.database(upgrade)))
    found = Schema.model_validate(oneoff.ask(host, upgrade.compose, "steward", command, timeout=60))
    if fits(found, wanted.revisions):
        return None
    if restore:
        return bring_back(now, wanted, str(migrate.database(upgrade)))
    service = f"api-{upgrade.intent.live}"
    answer = oneoff.ask(host, upgrade.old_compose, service, ("ppm", "migrations"), timeout=60)
    irreversible = migrate.Migrations.model_validate(answer).irreversible
    return take_back(found, now, wanted, irreversible, service)


def fits(found: Schema, revisions: Sequence[str]) -> bool:
    """Return whether a release that knows these revisions, oldest first, can run on the database as it is."""
    if found.revision in revisions:
        return found.revision == revisions[-1]
    return found.floor in revisions


def take_back(found: Schema, now: Record, wanted: Record, irreversible: Sequence[str], service: str) -> Change:
    """Return how the release that serves takes the schema back, by its service. Raises UpgradeError when it cannot."""
    goal = wanted.revisions[-1]
    between = now.revisions[now.revisions.index(goal) + 1 :] if goal in now.revisions else ()
    fixed = [revision for revision in between if revision in irreversible]
    if between and not fixed:
        return Change(
            way="hold",
            service=service,
            of_live=True,
            command=("ppm", "downgrade", goal),
            said=f"{found.revision} → {goal}",
        )
    why = f"there is no downgrade from {', '.join(fixed)}" if fixed else f"{now.id} knows no way back to {goal}"
    raise UpgradeError(
        f"release {wanted.id} cannot run on the database, and {why}. Nothing was changed",
        next="ppmctl rollback --restore brings back the snapshot from before the migration, and says what is lost"
        if _has_snapshot(now, wanted)
        else "Deploy a release that can: ppmctl deploy",
    )


def bring_back(now: Record, wanted: Record, database: str) -> Change:
    """Return how the snapshot from before the migration comes back. Raises UpgradeError when there is none."""
    if now.snapshot is None or not _has_snapshot(now, wanted):
        raise UpgradeError(
            f"there is no snapshot that release {wanted.id} could run on. Nothing was changed",
            next="ppmctl rollback tries without one; or deploy a release that can run on the database",
        )
    command = ("restore", now.snapshot, database)
    return Change(way="hold", service="steward", command=command, said=f"the snapshot of {wanted.revisions[-1]}")


def _has_snapshot(now: Record, wanted: Record) -> bool:
    return now.snapshot is not None and now.schema_before == wanted.revisions[-1]


def _note(upgrade: Upgrade, wanted: Record, change: Change | None) -> None:
    upgrade.note(schema_after=wanted.revisions[-1], revisions=" ".join(wanted.revisions))
    if change is not None:
        migrate.settle(upgrade, change)


def _loss(upgrade: Upgrade, change: Change) -> str:
    """Return the question whether what was written since the snapshot may go."""
    command = ("since", change.command[1], str(migrate.database(upgrade)))
    counts: dict[str, int] = oneoff.ask(upgrade.host, upgrade.compose, "steward", command, timeout=600)
    return (
        f"{upgrade.host.name}: {sum(counts.values()):,} rows were written since the snapshot and go with it"
        f"{by_table(counts)}. What is there now becomes a backup. Go on?"
    )


def by_table(counts: Mapping[str, int]) -> str:
    """Given {table: rows}, return them in words behind what they add up to; nothing where there are none."""
    tables = ", ".join(f"{table} {count:,}" for table, count in counts.items())
    return f" ({tables})" if tables else ""


def find_change(upgrade: Upgrade) -> str:
    """Say what becomes of the database, as it was decided when the rollback began."""
    change = upgrade.change or upgrade.intent.change
    if change is None:
        return "the data stays untouched"
    migrate.settle(upgrade, change)
    return f"the database is changed: {change.said}"


_REUSED = {step.name: step for step in STEPS}
ROLLBACK_STEPS: tuple[Step, ...] = (
    _REUSED["watch"],
    Step("schema", find_change),
    _REUSED["snapshot"],
    _REUSED["rehearse"],
    _REUSED["start"],
    _REUSED["hold"],
    _REUSED["ready"],
    replace(_REUSED["switch"], final=True),  # users first
    _REUSED["worker"],
    _REUSED["drain"],
    _REUSED["keep"],
    _REUSED["steward"],
    _REUSED["record"],
)
