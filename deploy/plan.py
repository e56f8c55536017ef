"""Wanted against found: what a deploy would do on one host. Pure."""

from __future__ import annotations

from deploy.config import Environment, Model
from deploy.release import COLORS, Color, Record, Release, other
from deploy.stack import ROLES, Stack


class Plan(Model):
    """What a deploy would do on one host."""

    target: Color
    """The colour that will serve."""
    changes: tuple[str, ...]
    """For people, one line each; empty when there is nothing to do."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changes)


def decide(environment: Environment, wanted: Release, stack: Stack) -> Plan:
    """Return what it takes to get from what was found to the release.

    An upgrade that was cut short after its switch goes on with the colour that serves already.
    """
    if stack.live is None:
        return Plan(target=COLORS[0], changes=(f"first deployment: release {wanted.id}",))
    if stack.release(stack.live) != wanted.id:
        return Plan(target=other(stack.live), changes=_content(stack.record, wanted))
    return Plan(target=stack.live, changes=_unfinished(environment, wanted, stack, stack.live))


def _content(record: Record | None, wanted: Release) -> tuple[str, ...]:
    if record is None:
        return (f"release {wanted.id} (the last deployment was not finished)",)
    was = record.release
    images, before = wanted.images.by_name(), was.images.by_name()
    lines = [
        f"{name} image: {_short(before[name])} → {_short(image)}"
        for name, image in images.items()
        if before[name] != image
    ]
    for name in sorted(wanted.secrets.keys() | was.secrets.keys()):
        old, new = was.secrets.get(name, "none"), wanted.secrets.get(name, "none")
        if old != new:
            lines.append(f"secret {name}: version {old} → {new}")
    return (f"release {was.id} → {wanted.id}", *(lines or ["settings"]))


def _short(image: str) -> str:
    return image.rpartition("sha256:")[2][:12]


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
    if not stack.running("reverse-proxy"):
        lines.append("reverse-proxy does not run")
    if stack.record is None or stack.record.id != wanted.id:
        lines.append(f"release {wanted.id} serves but is not recorded")
    return tuple(lines)
