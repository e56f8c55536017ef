"""Compare the wanted release with a host's state: what a deploy would do there. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ppmkit.config.environment import Environment
from ppmkit.orchestrator.stack import ROLES, Stack
from ppmkit.plan import diff
from ppmkit.plan.drift import Drift
from ppmkit.plan.model import Basis, HostPlan, Plan
from ppmkit.release.model import COLORS, Color, Record, Release, other

REPAIRED_BY_DEPLOY = ("write", "update", "replace", "recreate")
"""The means that add plan lines of their own. `start` is not among them: stopped containers are counted instead."""


PROXY_REPLACED = "the proxy is replaced: open connections are cut, and new ones are refused for about half a second"
"""The effect on users of new ports, another kind of certificates, or a new image or new limits of the proxy."""


def base_release(wanted: Release, stack: Stack) -> Release | None:
    """Return the release that the host should have now: the wanted one if it serves already, else the recorded one."""
    if stack.live is not None and stack.release(stack.live) == wanted.id:
        return wanted
    return stack.record.release if stack.record else None


def decide(
    environment: Environment,
    wanted: Release,
    stack: Stack,
    drift: Sequence[Drift] = (),
    settings: tuple[str, ...] = (),
    *,
    replaces_proxy: bool = False,
) -> Plan:
    """Return the plan that leads from the host's state to the release.

    ``settings`` is the plan line for changed steward settings, if any. ``replaces_proxy``: the proxy's container would
    be replaced; that alone is no reason for a deploy, because another version of Compose on this machine causes it too.

    An upgrade that was interrupted after its switch continues with the color that serves already. If containers of that
    color were recreated by hand, the other color takes over, as in an upgrade.
    """
    live = stack.live
    if live is None:
        return Plan(target=COLORS[0], changes=(f"first deployment: release {wanted.id}",))
    notice = (PROXY_REPLACED,) if replaces_proxy else ()
    if stack.release(live) != wanted.id:
        changes = _content(stack.record, wanted) + notice + settings
        return Plan(target=other(live), changes=changes, drift=tuple(drift))
    repairs = tuple(item.line for item in drift if item.means in REPAIRED_BY_DEPLOY)
    target = other(live) if any(item.means == "replace" for item in drift) else live
    changes = _unfinished(environment, wanted, stack, live) + repairs
    alone = bool(settings) and not changes
    changes += notice if changes else ()
    return Plan(target=target, changes=changes + settings, drift=tuple(drift), steward_alone=alone)


def _content(record: Record | None, wanted: Release) -> tuple[str, ...]:
    if record is None:
        return (f"release {wanted.id} (the last deployment was not finished)",)
    previous = record.release
    if previous.id == wanted.id:
        return (f"release {wanted.id} is recorded, but does not serve",)
    lines = diff.images(previous, wanted) + diff.secrets(previous, wanted)
    return (f"release {previous.id} → {wanted.id}", *(lines or ["settings"]))


def _unfinished(environment: Environment, wanted: Release, stack: Stack, live: Color) -> tuple[str, ...]:
    services = environment.services
    replicas = {"api": services.api.replicas, "frontend": services.frontend.replicas, "worker": 1}
    lines = []
    for role in ROLES:
        running = len(stack.running(role, live))
        if running != replicas[role]:
            lines.append(f"{role}-{live}: {running} of {replicas[role]} running")
        if stack.active(role, other(live)):
            lines.append(f"{role}-{other(live)} is still running")
    lines += [f"{role} is not running" for role in ("reverse-proxy", "steward") if not stack.running(role)]
    if stack.record is None or stack.record.id != wanted.id:
        lines.append(f"release {wanted.id} serves but is not recorded")
    return tuple(lines)


_LABELS = {"color": "the live color", "release": "the release", "schema_revision": "the database's revision"}


def stale(saved: HostPlan, now: Basis) -> list[str]:
    """Return the differences between the host now and when the plan was made, a line each; none when the plan holds."""
    was = saved.basis
    if was is None:
        return ["it could not be inspected when the plan was made"]
    lines = [
        f"{what} was {getattr(was, field) or 'none'}, is {getattr(now, field) or 'none'}"
        for field, what in _LABELS.items()
        if getattr(was, field) != getattr(now, field)
    ]
    before, after = ({*basis.changes, *basis.drift} for basis in (was, now))
    lines += [f"new: {line}" for line in sorted(after - before)]
    return lines + [f"gone: {line}" for line in sorted(before - after)]
