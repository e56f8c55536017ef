"""Handing over from the old worker to the new one, and back."""

from __future__ import annotations

from ppmkit.errors import NotReady
from ppmkit.operation.transaction import Upgrade
from ppmkit.proxy.probe import confirm_worker
from ppmkit.release.model import Color, other
from ppmkit.upgrade import diagnosis
from ppmkit.upgrade.rollout import held, stop, up


def hand_over_worker(upgrade: Upgrade) -> str:
    """Start the new worker on standby, then drain the old one: each job's lease passes from one to the other."""
    up(upgrade, f"worker-{upgrade.target}")
    _confirm_worker(upgrade, working=False)
    stop(upgrade.host, [c.id for c in upgrade.stack.active("worker", other(upgrade.target))])
    _confirm_worker(upgrade, working=True)
    return ", ".join(c.name for c in upgrade.stack.running("worker", upgrade.target))


def give_back_worker(upgrade: Upgrade) -> None:
    """Let the old worker work again: on standby first, if it is gone; then stop the new one."""
    stack = upgrade.look_again()
    if stack.live == upgrade.target and not held(upgrade):
        return
    old = other(upgrade.target)
    # After a hold the database is not the old one's yet: who ends that starts its worker too.
    gone = [] if held(upgrade) else [c.id for c in stack.of("worker", old) if not c.active]
    if gone:
        upgrade.host.docker.container.start(gone)
        _see_worker(upgrade, old, working=False)  # whatever is seen, the new one must go
    stop(upgrade.host, [c.id for c in stack.active("worker", upgrade.target)])


def _confirm_worker(upgrade: Upgrade, *, working: bool) -> None:
    """Wait until the target's worker lives, and works. Raises NotReady."""
    host = upgrade.host
    if last := _see_worker(upgrade, upgrade.target, working=working):
        raise NotReady(
            f"{host.name}: the new worker did not {'take over' if working else 'start'}",
            host=host.name,
            seen=diagnosis.of(host, upgrade.look_again(), upgrade.target, last),
        )


def _see_worker(upgrade: Upgrade, color: Color, *, working: bool) -> str | None:
    """Wait until the api tells that a colour's worker lives, and works; return None, or what was seen last."""
    timeout = upgrade.environment.upgrade.ready_timeout.total_seconds()
    for found in upgrade.look_again().running("worker", color):
        if found.release and found.started:
            return confirm_worker(upgrade.host, found.release, found.started, timeout, working=working)
    return "its container does not run"
