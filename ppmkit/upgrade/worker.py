"""Handing over from the old worker to the new one, and back."""

from __future__ import annotations

from ppmkit.errors import NotReady
from ppmkit.operation.transaction import Operation
from ppmkit.proxy.probe import confirm_worker
from ppmkit.release.model import Color, other
from ppmkit.upgrade import diagnosis
from ppmkit.upgrade.rollout import stop, up


def hand_over_worker(operation: Operation) -> str:
    """Start the new worker on standby, then drain the old one: each job's lease passes from one to the other."""
    up(operation, f"worker-{operation.target}")
    _confirm_worker(operation, working=False)
    stop(operation.host, [c.id for c in operation.stack.active("worker", other(operation.target))])
    _confirm_worker(operation, working=True)
    return ", ".join(c.name for c in operation.stack.running("worker", operation.target))


def give_back_worker(operation: Operation) -> None:
    """Let the old worker work again: on standby first, if it is gone; then stop the new one."""
    stack = operation.look_again()
    if stack.live == operation.target and not operation.held:
        return
    old = other(operation.target)
    # After a hold the database is not the old one's yet: who ends that starts its worker too.
    gone = [] if operation.held else [c.id for c in stack.of("worker", old) if not c.active]
    if gone:
        operation.host.docker.container.start(gone)
        _see_worker(operation, old, working=False)  # whatever is seen, the new one must go
    stop(operation.host, [c.id for c in stack.active("worker", operation.target)])


def _confirm_worker(operation: Operation, *, working: bool) -> None:
    """Wait until the target's worker lives, and works. Raises NotReady."""
    host = operation.host
    if last := _see_worker(operation, operation.target, working=working):
        raise NotReady(
            f"{host.name}: the new worker did not {'take over' if working else 'start'}",
            host=host.name,
            seen=diagnosis.of(host, operation.look_again(), operation.target, last),
        )


def _see_worker(operation: Operation, color: Color, *, working: bool) -> str | None:
    """Wait until the api tells that a colour's worker lives, and works; return None, or what was seen last."""
    timeout = operation.environment.upgrade.ready_timeout.total_seconds()
    for found in operation.look_again().running("worker", color):
        if found.release and found.started:
            return confirm_worker(operation.host, found.release, found.started, timeout, working=working)
    return "its container does not run"
