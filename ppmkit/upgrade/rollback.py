"""`ppmctl rollback`: returns to the previous release, with its own config, secrets and images.

The data stays untouched when the previous release can run on the schema as it is. Otherwise it is downgraded, after a
rehearsal on a copy. With `--restore`, it is restored from the snapshot from before the migration instead, which loses
what was written since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ppmkit.config.environment import Model
from ppmkit.database import migrate
from ppmkit.errors import PreflightError
from ppmkit.operation.journal import Change
from ppmkit.operation.transaction import Operation, Step
from ppmkit.orchestrator import oneoff
from ppmkit.release import migrations
from ppmkit.release.model import Record
from ppmkit.upgrade.steps import BY_NAME

if TYPE_CHECKING:
    from ppmkit.host.host import Host


class Schema(Model):
    """The schema that a database reports."""

    revision: str | None
    floor: str | None


def plan(host: Host, operation: Operation, now: Record, wanted: Record, *, restore: bool) -> Change | None:
    """Return the rollback's change to the database, or None. Raises PreflightError when a rollback is impossible."""
    if now.schema_after == wanted.revisions[-1]:
        return None  # asking takes a second, and a release that cannot run on the schema never gets ready
    command = ("schema", str(migrate.database(operation)))
    schema = Schema.model_validate(oneoff.ask(host, operation.compose, "steward", command, timeout=60))
    if fits(schema, wanted.revisions):
        return None
    if restore:
        return restore_plan(now, wanted, str(migrate.database(operation)))
    service = f"api-{operation.intent.live}"
    answer = oneoff.ask(host, operation.old_compose, service, ("ppm", "migrations"), timeout=60)
    irreversible = migrations.Migrations.model_validate(answer).irreversible
    return downgrade_plan(schema, now, wanted, irreversible, service)


def fits(schema: Schema, revisions: Sequence[str]) -> bool:
    """Return whether a release that knows these revisions, oldest first, can run on the database as it is."""
    if schema.revision in revisions:
        return schema.revision == revisions[-1]
    return schema.floor in revisions


def downgrade_plan(schema: Schema, now: Record, wanted: Record, irreversible: Sequence[str], service: str) -> Change:
    """Return how the current release's service downgrades the schema. Raises PreflightError when it cannot."""
    target = wanted.revisions[-1]
    between = now.revisions[now.revisions.index(target) + 1 :] if target in now.revisions else ()
    blocking = [revision for revision in between if revision in irreversible]
    if between and not blocking:
        return Change(
            way="hold",
            service=service,
            of_live=True,
            command=("ppm", "downgrade", target),
            said=f"{schema.revision} → {target}",
        )
    why = f"there is no downgrade from {', '.join(blocking)}" if blocking else f"{now.id} has no downgrade to {target}"
    raise PreflightError(
        f"release {wanted.id} cannot run on the database, and {why}. Nothing was changed",
        next="ppmctl rollback --restore restores the snapshot from before the migration; it shows first what is lost"
        if _has_snapshot(now, wanted)
        else "Deploy a release that can run on it: ppmctl deploy",
    )


def restore_plan(now: Record, wanted: Record, database: str) -> Change:
    """Return how the snapshot from before the migration is restored. Raises PreflightError when there is none."""
    if now.snapshot is None or not _has_snapshot(now, wanted):
        raise PreflightError(
            f"there is no snapshot that release {wanted.id} can run on. Nothing was changed",
            next="Try ppmctl rollback without --restore, or deploy a release that can run on the database",
        )
    command = ("restore", now.snapshot, database)
    return Change(way="hold", service="steward", command=command, said=f"the snapshot of {wanted.revisions[-1]}")


def _has_snapshot(now: Record, wanted: Record) -> bool:
    return now.snapshot is not None and now.schema_before == wanted.revisions[-1]


def find_change(operation: Operation) -> str:
    """Return what happens to the database, as decided when the rollback began."""
    change = operation.change or operation.intent.change
    if change is None:
        return "the data stays untouched"
    migrate.settle(operation, change)
    return f"the database is changed: {change.said}"


ROLLBACK_STEPS: tuple[Step, ...] = (
    BY_NAME["watch"],
    Step("schema", find_change),
    BY_NAME["snapshot"],
    BY_NAME["rehearse"],
    BY_NAME["start"],
    BY_NAME["hold"],
    BY_NAME["ready"],
    replace(BY_NAME["switch"], final=True),  # users first
    BY_NAME["worker"],
    BY_NAME["drain"],
    BY_NAME["keep"],
    BY_NAME["steward"],
    BY_NAME["record"],
)
