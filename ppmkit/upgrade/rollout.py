"""Rollout steps: send a release, start it, wait for it, switch to it, drain the old one, record it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from ppmkit.backup import preserve, service
from ppmkit.backup.client import prepare_directories
from ppmkit.database import hold
from ppmkit.errors import NotReady, OperationError
from ppmkit.host import proxy_settings
from ppmkit.images.ship import send_images
from ppmkit.operation import publish, watch
from ppmkit.operation.transaction import Operation
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


def ship(operation: Operation) -> str:
    """Send the layers that the host lacks."""
    host = operation.host
    operation.bytes_sent = send_images(host, operation.release.images, partial(operation.progress.sent, host.name))
    prune.keep(host, operation.release)
    return f"{operation.bytes_sent:,} bytes sent" if operation.bytes_sent else "every layer is on the host already"


def place(operation: Operation) -> str:
    """Write the release's files and secrets to the host; both are never edited later."""
    environment, host = operation.environment, operation.host
    prepare_directories(host, operation.release.images.steward)
    placed = on_host.place(host, operation.secrets, operation.release.images.steward)
    if operation.resumed:
        return "already done"
    publish.publish(host)  # its folder is mounted
    files = render.tree(environment, operation.release)
    where = environment.directory / "releases" / operation.release.id
    host.write_tree(where, files)
    host.write(where / proxy_settings.FILE, proxy_settings.recorded(environment))
    service.place(operation)
    return f"{len(files)} files, {placed} new secret versions"


def start(operation: Operation) -> str:
    """Create the target color, and start one container of each service: the others follow once it answers.

    No users are sent to it yet; this also ends the canary of a run that was killed. Before a hold, all containers start
    now, because users wait during the hold.
    """
    traefik.route(operation.host, operation.stack, live=operation.stack.live, preview=None)
    operation.compose.compose.create([f"{role}-{operation.target}" for role in PORTS], no_build=True)
    operation.refresh()
    stopped = [_stopped(operation, role) for role in PORTS]
    _start(operation, [c for containers in stopped for c in (containers if operation.held else containers[:1])])
    stack = operation.refresh()
    return ", ".join(c.name for role in PORTS for c in stack.running(role, operation.target))


def await_ready(operation: Operation) -> str:
    """Wait until every new container answers through the proxy, on the path that users will take.

    Starting a container saturates a core regardless of its CPU share. So the next one starts only when the previous
    ones answer: two at once could leave no core for users.
    """
    _await_answers(operation)
    for container in [c for role in PORTS for c in _stopped(operation, role)]:
        _start(operation, [container])
        operation.refresh()
        _await_answers(operation)
    answering = [c for role in PORTS for c in operation.stack.running(role, operation.target)]
    return f"{len(answering)} containers answer through the proxy"


def _await_answers(operation: Operation) -> None:
    """Wait until each of the target's started containers answers. Raises NotReady."""
    host, environment, stack = operation.host, operation.environment, operation.stack
    traefik.route(host, stack, live=stack.live, preview=operation.target)
    timeout = environment.upgrade.ready_timeout.total_seconds()
    last = traefik.confirm_preview(host, stack, operation.target, operation.release.id, timeout)
    if last is not None:
        raise NotReady(
            f"{host.name}: the new release was not ready after {timeout:g} s",
            host=host.name,
            seen=diagnosis.report(host, operation.refresh(), operation.target, last),
            next=f"Fix it and re-run: ppmctl deploy -e {environment.name}. To inspect it: docker logs on {host.name}",
        )


def switch(operation: Operation) -> str:
    """Send users to the target color, and confirm that they get there."""
    full_share(operation)
    traefik.route(operation.host, operation.stack, live=operation.target, preview=None)
    timeout = operation.environment.upgrade.switch_timeout.total_seconds()
    traefik.confirm_live(operation.host, operation.stack, operation.target, operation.release.id, timeout)
    return f"users are on {operation.target}"


def drain(operation: Operation) -> str:
    """Let the old color finish its requests in flight, then stop it; it stays for a rollback."""
    old = [c.id for role in ROLES for c in operation.stack.active(role, other(operation.target))]
    stop(operation.host, old)
    watch.end(operation)
    return f"{len(old)} containers stopped" if old else "nothing to drain"


def record(operation: Operation) -> str:
    """Write release.json, point `current` at it, and remove releases too old for a rollback."""
    host, release, directory = operation.host, operation.release, operation.environment.directory
    entry = Record(
        release=release,
        color=operation.target,
        previous=operation.intent.back,
        source=operation.intent.source,
        who=operation.who,
        when=datetime.now(UTC),
        schema_before=operation.findings.schema_before,
        schema_after=operation.findings.schema_after,
        revisions=operation.findings.revisions or (),
        snapshot=operation.snapshot if operation.held else None,
        bytes_sent=operation.bytes_sent,
        steps=tuple(operation.times),
    )
    host.write(directory / "releases" / release.id / "release.json", entry.model_dump_json())
    host.link(directory / "current", f"releases/{release.id}")
    preserve.clear(operation)
    proxy.clean(operation)
    if operation.held:
        hold.clean(operation)
    removed = prune.prune(host, keep=operation.environment.upgrade.keep_releases)
    outcome = [f"release {release.id}"]
    if removed:
        outcome.append(f"older ones removed: {removed}")
    if problem := assets.prune(host):
        outcome.append(f"assets of old pages: {problem}")
    return "; ".join(outcome)


def stop_target(operation: Operation) -> None:
    """Remove the preview route and stop the new containers; they are kept for inspection."""
    stack = operation.refresh()
    if stack.live == operation.target:  # no other color to go back to
        return
    traefik.route(operation.host, stack, live=stack.live, preview=None)
    stop(operation.host, [c.id for role in ROLES for c in stack.active(role, operation.target)])


def switch_back(operation: Operation) -> None:
    """Send all users to the old color again; if it does not run, they stay where they are."""
    old = other(operation.target)
    stack = operation.refresh()
    if not stack.running("api", old):
        return
    traefik.route(operation.host, stack, live=old, preview=None)
    timeout = operation.environment.upgrade.switch_timeout.total_seconds()
    if (release := stack.release(old)) is None:
        return
    # The proxy that this operation started may be the fault; the undo of the step proxy confirms that users are served.
    with suppress(OperationError) if proxy.replaced(operation) else nullcontext():
        traefik.confirm_live(operation.host, stack, old, release, timeout)


def _stopped(operation: Operation, role: str) -> list[Found]:
    """Return the target's containers of a role that do not run."""
    return [c for c in operation.stack.of(role, operation.target) if not c.active]


def _start(operation: Operation, containers: Sequence[Found]) -> None:
    if containers:
        operation.host.docker.container.start([c.id for c in containers])


def stop(host: Host, containers: list[str]) -> None:
    """Stop containers in parallel, each with the grace period that Compose gave it."""
    if containers:
        host.docker.container.stop(containers)
