"""Wanted against found: what a deploy would do on one host. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ppmkit.config.environment import Environment
from ppmkit.orchestrator.stack import ROLES, Stack
from ppmkit.plan import diff
from ppmkit.plan.drift import Drift
from ppmkit.plan.model import Basis, HostPlan, Plan
from ppmkit.release.model import COLORS, Color, Record, Release, other

MENDED = ("write", "update", "replace", "recreate")
"""The means of a deploy that are not about containers that stand still: for those, it counts what runs."""


PROXY_REPLACED = "the proxy is replaced: open connections are cut, and for about half a second new ones are refused"
"""What users notice of other ports, certificates from elsewhere, another image or other limits of the proxy."""


def basis(wanted: Release, stack: Stack) -> Release | None:
    """Return the release that the host should be now: the wanted one if that serves already, else the recorded one."""
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
    """Return what it takes to get from what was found to the release.

    ``settings`` says that those of the steward change, if they do. ``replaces_proxy``: its container is to be another
    one; that alone is no reason for a deploy, since another version of Compose on this machine is enough for it.

    An upgrade that was cut short after its switch goes on with the colour that serves already. Where somebody
    made containers of that colour anew by hand, the other colour takes over, as in an upgrade.
    """
    live = stack.live
    if live is None:
        return Plan(target=COLORS[0], changes=(f"first deployment: release {wanted.id}",))
    notice = (PROXY_REPLACED,) if replaces_proxy else ()
    if stack.release(live) != wanted.id:
        changes = _content(stack.record, wanted) + notice + settings
        return Plan(target=other(live), changes=changes, drift=tuple(drift))
    mended = tuple(item.line for item in drift if item.means in MENDED)
    target = other(live) if any(item.means == "replace" for item in drift) else live
    changes = _unfinished(environment, wanted, stack, live) + mended
    alone = bool(settings) and not changes
    changes += notice if changes else ()
    return Plan(target=target, changes=changes + settings, drift=tuple(drift), steward_alone=alone)


def _content(record: Record | None, wanted: Release) -> tuple[str, ...]:
    if record is None:
        return (f"release {wanted.id} (the last deployment was not finished)",)
    was = record.release
    if was.id == wanted.id:
        return (f"release {wanted.id} is recorded, but does not serve",)
    lines = diff.images(was, wanted) + diff.secrets(was, wanted)
    return (f"release {was.id} → {wanted.id}", *(lines or ["settings"]))


def _unfinished(environment: Environment, wanted: Release, stack: Stack, live: Color) -> tuple[str, ...]:
    services = environment.services
    replicas = {"api": services.api.replicas, "frontend": services.frontend.replicas, "worker": 1}
    lines = []
    for role in ROLES:
        running = len(stack.running(role, live))
        if running != replicas[role]:
            lines.append(f"{role}-{live}: {running} of {replicas[role]} run")
        if stack.active(role, other(live)):
            lines.append(f"{role}-{other(live)} still runs")
    lines += [f"{role} does not run" for role in ("reverse-proxy", "steward") if not stack.running(role)]
    if stack.record is None or stack.record.id != wanted.id:
        lines.append(f"release {wanted.id} serves but is not recorded")
    return tuple(lines)


_PLAIN = {"color": "the live colour", "release": "the release", "schema_revision": "the database's revision"}


def stale(saved: HostPlan, now: Basis) -> list[str]:
    """Return what the host is no longer that the plan was made from, in words; nothing when the plan holds."""
    was = saved.basis
    if was is None:
        return ["it could not be looked at then"]
    lines = [
        f"{what} was {getattr(was, field) or 'none'}, is {getattr(now, field) or 'none'}"
        for field, what in _PLAIN.items()
        if getattr(was, field) != getattr(now, field)
    ]
    before, after = ({*basis.changes, *basis.drift} for basis in (was, now))
    lines += [f"new: {line}" for line in sorted(after - before)]
    return lines + [f"gone: {line}" for line in sorted(before - after)]
