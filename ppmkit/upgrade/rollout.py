"""The steps that roll a release out: send it, start it, wait for it, switch to it, drain the old one, record it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from ppmkit.backup import preserve, service
from ppmkit.backup.client import give_place
from ppmkit.database import hold
from ppmkit.errors import NotReady, OperationError
from ppmkit.host import proxy_settings
from ppmkit.images import ship as ship_module
from ppmkit.operation import publish, watch
from ppmkit.operation.transaction import Upgrade
from ppmkit.orchestrator.stack import PORTS, ROLES
from ppmkit.proxy import traefik
from ppmkit.release import prune, render
from ppmkit.release.model import Record, other
from ppmkit.secrets import on_host
from ppmkit.upgrade import assets, diagnosis, proxy
from ppmkit.upgrade.canary import full_share

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.orchestrator.stack import Found


def ship(upgrade: Upgrade) -> str:
    """Send the layers that the host lacks."""
    host = upgrade.host
    upgrade.bytes_sent = ship_module.ship(host, upgrade.release.images, partial(upgrade.progress.sent, host.name))
    prune.keep(host, upgrade.release)
    return f"{upgrade.bytes_sent:,} bytes sent" if upgrade.bytes_sent else "every layer is there"


def place(upgrade: Upgrade) -> str:
    """Lay the release's files and secrets on the host; both are never edited later."""
    environment, host = upgrade.environment, upgrade.host
    give_place(host, upgrade.release.images.steward)
    placed = on_host.place(host, upgrade.secrets, upgrade.release.images.steward)
    if upgrade.resumed:
        return "is there"
    publish.publish(host)  # its folder is mounted
    files, where = render.tree(environment, upgrade.release), environment.directory / "releases" / upgrade.release.id
    host.write_tree(where, files)
    host.write(where / proxy_settings.FILE, proxy_settings.recorded(environment))
    service.place(upgrade)
    return f"{len(files)} files, {placed} new secret versions"


def start(upgrade: Upgrade) -> str:
    """Create the target colour, and start one container of each service: the others follow once it answers.

    Nobody is sent to it yet, nor any more by the canary of a run that was killed. Where a hold comes all start now:
    users wait from then on.
    """
    traefik.route(upgrade.host, upgrade.stack, live=upgrade.stack.live, preview=None)
    upgrade.compose.compose.create([f"{role}-{upgrade.target}" for role in PORTS], no_build=True)
    upgrade.look_again()
    resting = [_resting(upgrade, role) for role in PORTS]
    _start(upgrade, [c for found in resting for c in (found if held(upgrade) else found[:1])])
    stack = upgrade.look_again()
    return ", ".join(c.name for role in PORTS for c in stack.running(role, upgrade.target))


def await_ready(upgrade: Upgrade) -> str:
    """Wait until every new container answers through the proxy, on the path that users will take.

    A container that loads its code takes a processor, whatever its share. So the next one starts when those before
    it answer: two at once would leave none to users.
    """
    _await_answers(upgrade)
    for container in [c for role in PORTS for c in _resting(upgrade, role)]:
        _start(upgrade, [container])
        upgrade.look_again()
        _await_answers(upgrade)
    answering = [c for role in PORTS for c in upgrade.stack.running(role, upgrade.target)]
    return f"{len(answering)} containers answer through the proxy"


def _await_answers(upgrade: Upgrade) -> None:
    """Wait until each of the target's containers that was started answers. Raises NotReady."""
    host, environment, stack = upgrade.host, upgrade.environment, upgrade.stack
    traefik.route(host, stack, live=stack.live, preview=upgrade.target)
    timeout = environment.upgrade.ready_timeout.total_seconds()
    last = traefik.confirm_preview(host, stack, upgrade.target, upgrade.release.id, timeout)
    if last is not None:
        raise NotReady(
            f"{host.name}: the new release was not ready after {timeout:g} s",
            host=host.name,
            seen=diagnosis.of(host, upgrade.look_again(), upgrade.target, last),
            next=f"Mend it and run: ppmctl deploy -e {environment.name}. A look at it: docker logs on {host.name}",
        )


def switch(upgrade: Upgrade) -> str:
    """Send users to the target colour, and see that they are."""
    full_share(upgrade)
    traefik.route(upgrade.host, upgrade.stack, live=upgrade.target, preview=None)
    timeout = upgrade.environment.upgrade.switch_timeout.total_seconds()
    traefik.confirm_live(upgrade.host, upgrade.stack, upgrade.target, upgrade.release.id, timeout)
    return f"users are on {upgrade.target}"


def drain(upgrade: Upgrade) -> str:
    """Let the old colour end what it has in flight, then stop it; it stays for a rollback."""
    old = [c.id for role in ROLES for c in upgrade.stack.active(role, other(upgrade.target))]
    stop(upgrade.host, old)
    watch.end(upgrade)
    return f"{len(old)} containers stopped" if old else "nothing to drain"


def record(upgrade: Upgrade) -> str:
    """Write release.json, point `current` at it, and remove what is too old to return to."""
    host, release, directory = upgrade.host, upgrade.release, upgrade.environment.directory
    held = upgrade.fact("way") == "hold"
    entry = Record(
        release=release,
        color=upgrade.target,
        previous=upgrade.intent.back,
        source=upgrade.intent.source,
        who=upgrade.who,
        when=datetime.now(UTC),
        schema_before=upgrade.fact("schema_before"),
        schema_after=upgrade.fact("schema_after"),
        revisions=tuple((upgrade.fact("revisions") or "").split()),
        snapshot=upgrade.snapshot if held else None,
        bytes_sent=upgrade.bytes_sent,
        steps=tuple(upgrade.times),
    )
    host.write(directory / "releases" / release.id / "release.json", entry.model_dump_json())
    host.link(directory / "current", f"releases/{release.id}")
    preserve.clear(upgrade)
    proxy.clean(upgrade)
    if held:
        hold.clean(upgrade)
    removed = prune.prune(host, keep=upgrade.environment.upgrade.keep_releases)
    said = [f"release {release.id}"]
    if removed:
        said.append(f"older ones removed: {removed}")
    if problem := assets.prune(host):
        said.append(f"assets of old pages: {problem}")
    return "; ".join(said)


def stop_target(upgrade: Upgrade) -> None:
    """Take the preview away and stop the new containers; they stay for a look."""
    stack = upgrade.look_again()
    if stack.live == upgrade.target:  # there was no colour to go back to
        return
    traefik.route(upgrade.host, stack, live=stack.live, preview=None)
    stop(upgrade.host, [c.id for role in ROLES for c in stack.active(role, upgrade.target)])


def switch_back(upgrade: Upgrade) -> None:
    """Send users to the old colour again, all of them; where none runs, they stay where they are."""
    old = other(upgrade.target)
    stack = upgrade.look_again()
    if not stack.running("api", old):
        return
    traefik.route(upgrade.host, stack, live=old, preview=None)
    timeout = upgrade.environment.upgrade.switch_timeout.total_seconds()
    if (release := stack.release(old)) is None:
        return
    # A proxy that this operation has put there may be what is wrong: its undo sees that users are served.
    with suppress(OperationError) if proxy.replaced(upgrade) else nullcontext():
        traefik.confirm_live(upgrade.host, stack, old, release, timeout)


def up(upgrade: Upgrade, service: str) -> None:
    upgrade.compose.compose.up([service], detach=True, dependencies=False, no_build=True, quiet=True)


def _resting(upgrade: Upgrade, role: str) -> list[Found]:
    """Return the target's containers of a role that do not run."""
    return [c for c in upgrade.stack.of(role, upgrade.target) if not c.active]


def _start(upgrade: Upgrade, containers: Sequence[Found]) -> None:
    if containers:
        upgrade.host.docker.container.start([c.id for c in containers])


def stop(host: Host, containers: list[str]) -> None:
    """Stop containers side by side, each with the grace period that Compose gave it."""
    if containers:
        host.docker.container.stop(containers)


def held(upgrade: Upgrade) -> bool:
    return upgrade.fact("way") == "hold"
