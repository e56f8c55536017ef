"""`ppmctl rollback`: return to an earlier release, with its own config, secrets and images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ppmkit.actions import recover
from ppmkit.config.environment import Environment, HostAddress, Model
from ppmkit.database import migrate
from ppmkit.errors import UsageError
from ppmkit.host.session import locked
from ppmkit.operation import journal, transaction
from ppmkit.operation.findings import Findings
from ppmkit.operation.hosts import on_each_host, opened
from ppmkit.operation.journal import Change, Intent
from ppmkit.operation.transaction import Operation
from ppmkit.orchestrator import oneoff
from ppmkit.orchestrator.stack import Stack, inspect
from ppmkit.plan import drift
from ppmkit.progress import Confirm
from ppmkit.release import render
from ppmkit.release.model import Images, Record, other
from ppmkit.release.records import records
from ppmkit.upgrade.rollback import ROLLBACK_STEPS, plan

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.progress import Progress


class Rollback(Model):
    """The result on one host; `rollback --json` prints one object per host."""

    host: str
    release: str
    previous: str
    data: str
    """untouched, downgraded or restored."""
    served_seconds: float
    """Seconds until users were on the release."""
    seconds: float
    failed: str = ""
    """What failed while requests waited, as text; empty when nothing did, or none waited."""


def rollback(
    environment: Environment, progress: Progress, confirm: Confirm, *, release: str | None = None, restore: bool = False
) -> list[Rollback]:
    """Return every host, one after another, to a release: the previous one, unless named."""
    return on_each_host(
        environment, 1, lambda address, _: _on_host(environment, address, progress, confirm, release, restore)
    )


def _on_host(
    environment: Environment,
    address: HostAddress,
    progress: Progress,
    confirm: Confirm,
    release: str | None,
    restore: bool,
) -> Rollback:
    began = time.monotonic()
    with locked(environment, address, "rollback") as host:
        recover.end_unfinished(host, None, progress)
        stack = inspect(host)
        now, wanted = _choose(host, stack, release)
        assert stack.live is not None, "_choose raises otherwise"
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
        with opened(host, intent, stack, progress) as operation:
            change = plan(host, operation, now, wanted, restore=restore)
            if change is not None and change.service == "steward":
                confirm(_loss(operation, change))
            operation.intent = intent.model_copy(update={"change": change})
            _note(operation, wanted, change)
            transaction.run(operation, ROLLBACK_STEPS)
    data = "untouched" if change is None else "restored" if change.service == "steward" else "downgraded"
    seconds = time.monotonic() - began
    names = [step.name for step in operation.times]
    after = sum(step.seconds for step in operation.times[names.index("switch") + 1 :])
    return Rollback(
        host=address.name,
        release=wanted.id,
        previous=now.id,
        data=data,
        served_seconds=round(seconds - after, 3),
        seconds=round(seconds, 3),
        failed=operation.findings.failed or "",
    )


def _choose(host: Host, stack: Stack, release: str | None) -> tuple[Record, Record]:
    """Return the records of the live release and of the one to return to. Raises UsageError when there is none."""
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
    if images is None or not _intact(host, name) or not _present(host, images):
        raise UsageError(
            f"{host.name}: release {name} is not there: it never was, it was pruned, or its files were edited",
            next=f"List the releases: ppmctl releases -e {environment}",
        )
    return stack.record, known[name]


def _intact(host: Host, release: str) -> bool:
    """Return whether the release's files are present and unchanged."""
    folder = host.environment.directory / "releases" / release
    texts = {path: host.read(folder / path) for path in (render.COMPOSE, drift.ROUTES, drift.CERTIFICATES)}
    return drift.intact(release, {path: text for path, text in texts.items() if text is not None})


def _present(host: Host, images: Images) -> bool:
    return all(host.docker.image.exists(reference) for reference in images.by_name().values())


def _note(operation: Operation, wanted: Record, change: Change | None) -> None:
    operation.note(Findings(schema_after=wanted.revisions[-1], revisions=wanted.revisions))
    if change is not None:
        migrate.settle(operation, change)


def _loss(operation: Operation, change: Change) -> str:
    """Return the question whether rows written since the snapshot may be discarded."""
    command = ("since", change.command[1], str(migrate.database(operation)))
    counts: dict[str, int] = oneoff.ask(operation.host, operation.compose, "steward", command, timeout=600)
    return (
        f"{operation.host.name}: rolling back discards {sum(counts.values()):,} rows written since the snapshot"
        f"{by_table(counts)}. The current database becomes a backup. Continue?"
    )


def by_table(counts: Mapping[str, int]) -> str:
    """Given {table: rows}, return a suffix with the rows of each table; empty when there are none."""
    tables = ", ".join(f"{table} {count:,}" for table, count in counts.items())
    return f" ({tables})" if tables else ""
