"""Handover from the old worker to the new one, and back."""

from __future__ import annotations

from ppmkit.errors import NotReady
from ppmkit.operation.transaction import Operation
from ppmkit.proxy.probe import confirm_worker
from ppmkit.release.model import Color, other
from ppmkit.upgrade import diagnosis
from ppmkit.upgrade.rollout import stop


def hand_over_worker(operation: Operation) -> str:
    """Start the new worker on standby, then drain the old one: the new worker takes over each job's lease."""
    operation.up(f"worker-{operation.target}")
    _confirm_worker(operation, working=False)
    stop(operation.host, [c.id for c in operation.stack.active("worker", other(operation.target))])
    _confirm_worker(operation, working=True)
    return ", ".join(c.name for c in operation.stack.running("worker", operation.target))


def give_back_worker(operation: Operation) -> None:
    """Let the old worker work again: start it on standby first, if it stopped; then stop the new one."""
    stack = operation.refresh()
    if stack.live == operation.target and not operation.held:
        return
    old = other(operation.target)
    # After a hold, the old worker cannot use the database yet: the undo of the hold starts it.
    stopped = [] if operation.held else [c.id for c in stack.of("worker", old) if not c.active]
    if stopped:
        operation.host.docker.container.start(stopped)
        _await_worker(operation, old, working=False)  # whatever the result, the new worker must stop
    stop(operation.host, [c.id for c in stack.active("worker", operation.target)])


def _confirm_worker(operation: Operation, *, working: bool) -> None:
    """Wait until the target's worker is alive and, with ``working``, runs jobs. Raises NotReady."""
    host = operation.host
    if last := _await_worker(operation, operation.target, working=working):
        raise NotReady(
            f"{host.name}: the new worker did not {'take over' if working else 'start'}",
            host=host.name,
            seen=diagnosis.report(host, operation.refresh(), operation.target, last),
        )


def _await_worker(operation: Operation, color: Color, *, working: bool) -> str | None:
    """Wait until the api reports that a color's worker is alive, or working; return None, or the last answer."""
    timeout = operation.environment.upgrade.ready_timeout.total_seconds()
    for container in operation.refresh().running("worker", color):
        if container.release and container.started:
            return confirm_worker(operation.host, container.release, container.started, timeout, working=working)
    return "its container is not running"
