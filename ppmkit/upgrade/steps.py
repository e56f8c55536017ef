"""Blue/green upgrade of one host. Read STEPS from top to bottom: that is what a deploy does.

Each step is idempotent, journaled, bounded by a deadline and names its undo. Up to the final step, a failure (or
Ctrl-C) undoes what was done, in reverse; after that, the operation can only be finished. An interrupted operation
(`kill -9`, a lost network) is in the journal: `ppmctl deploy`, `resume` or `abort` handles it.
"""

from __future__ import annotations

from ppmkit.backup import preserve, service
from ppmkit.database import hold, migrate
from ppmkit.operation import watch
from ppmkit.operation.transaction import Operation, Step
from ppmkit.upgrade import proxy, repair
from ppmkit.upgrade.canary import bake, canary, smoke
from ppmkit.upgrade.rollout import await_ready, drain, place, record, ship, start, stop_target, switch, switch_back
from ppmkit.upgrade.worker import give_back_worker, hand_over_worker


def _changes_data(operation: Operation) -> bool:
    """Return whether there is data, and it will change."""
    return operation.change is not None and operation.change.way != "fresh"


def _not_held(operation: Operation) -> bool:
    return operation.change is not None and operation.change.way != "hold"


def _held(operation: Operation) -> bool:
    return operation.held


def _migration(operation: Operation) -> float:
    return 2 * operation.environment.upgrade.migrate_timeout.total_seconds() + 120


def _readiness(operation: Operation) -> float:
    """Return a deadline that gives each container in turn its full ready_timeout."""
    services = operation.environment.services
    containers = services.api.replicas + services.frontend.replicas
    return containers * operation.environment.upgrade.ready_timeout.total_seconds() + 300


STEPS: tuple[Step, ...] = (
    Step("ship", ship),
    Step("place", place),
    Step("mend", repair.repair),
    Step("proxy", proxy.start, undo=proxy.undo),
    Step("watch", watch.begin, undo=watch.end),
    Step("schema", migrate.find_pending),
    Step("snapshot", migrate.snapshot, undo=migrate.drop_snapshot, when=_changes_data, deadline=_migration),
    Step("rehearse", migrate.rehearse, when=_changes_data, deadline=_migration),
    Step("migrate", migrate.apply, when=_not_held, deadline=_migration),
    Step("start", start, undo=stop_target),
    Step("hold", hold.hold, undo=hold.reopen, when=_held, deadline=_migration),
    Step("ready", await_ready, deadline=_readiness),
    Step("smoke", smoke),
    Step("worker", hand_over_worker, undo=give_back_worker),
    Step("canary", canary, undo=switch_back),
    Step("switch", switch, undo=switch_back),
    Step("bake", bake, final=True),
    Step("drain", drain),
    Step("keep", preserve.file_snapshot, when=preserve.is_due, deadline=preserve.deadline),
    Step("steward", service.start),
    Step("record", record),
)

BY_NAME = {step.name: step for step in STEPS}
"""The steps by their names; a rollback and a restore reuse some of them."""
STEWARD_STEPS = tuple(step for step in STEPS if step.name in ("place", "steward"))
"""The steps of a deploy that changes only backup settings."""
