"""`ppmctl rollback`: the release of before, with its own config, secrets and images; and what becomes of the data.

Untouched, when the release of before can run on the schema as it is. Else downgraded, after a rehearsal on a copy.
Else, if asked for, restored from the snapshot of before the migration, which loses what was written since.
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
from ppmkit.upgrade.steps import STEPS

if TYPE_CHECKING:
    from ppmkit.host.host import Host


class Schema(Model):
    """What a database says of itself."""

    revision: str | None
    floor: str | None


def plan(host: Host, operation: Operation, now: Record, wanted: Record, *, restore: bool) -> Change | None:
    """Return what the rollback does to the database, or None. Raises PreflightError when there is no way back."""
    if now.schema_after == wanted.revisions[-1]:
        return None  # not worth a second of asking: a release that cannot run on the schema does not get ready
    command = ("schema", str(migrate.database(operation)))
    found = Schema.model_validate(oneoff.ask(host, operation.compose, "steward", command, timeout=60))
    if fits(found, wanted.revisions):
        return None
    if restore:
        return bring_back(now, wanted, str(migrate.database(operation)))
    service = f"api-{operation.intent.live}"
    answer = oneoff.ask(host, operation.old_compose, service, ("ppm", "migrations"), timeout=60)
    irreversible = migrations.Migrations.model_validate(answer).irreversible
    return take_back(found, now, wanted, irreversible, service)


def fits(found: Schema, revisions: Sequence[str]) -> bool:
    """Return whether a release that knows these revisions, oldest first, can run on the database as it is."""
    if found.revision in revisions:
        return found.revision == revisions[-1]
    return found.floor in revisions


def take_back(found: Schema, now: Record, wanted: Record, irreversible: Sequence[str], service: str) -> Change:
    """Return how the current release downgrades the schema, by its service. Raises PreflightError when it cannot."""
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
    raise PreflightError(
        f"release {wanted.id} cannot run on the database, and {why}. Nothing was changed",
        next="ppmctl rollback --restore brings back the snapshot from before the migration, and says what is lost"
        if _has_snapshot(now, wanted)
        else "Deploy a release that can: ppmctl deploy",
    )


def bring_back(now: Record, wanted: Record, database: str) -> Change:
    """Return how the snapshot from before the migration comes back. Raises PreflightError when there is none."""
    if now.snapshot is None or not _has_snapshot(now, wanted):
        raise PreflightError(
            f"there is no snapshot that release {wanted.id} could run on. Nothing was changed",
            next="ppmctl rollback tries without one; or deploy a release that can run on the database",
        )
    command = ("restore", now.snapshot, database)
    return Change(way="hold", service="steward", command=command, said=f"the snapshot of {wanted.revisions[-1]}")


def _has_snapshot(now: Record, wanted: Record) -> bool:
    return now.snapshot is not None and now.schema_before == wanted.revisions[-1]


def find_change(operation: Operation) -> str:
    """Say what becomes of the database, as it was decided when the rollback began."""
    change = operation.change or operation.intent.change
    if change is None:
        return "the data stays untouched"
    migrate.settle(operation, change)
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
