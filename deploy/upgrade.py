"""The blue/green upgrade of one host. Read STEPS from top to bottom: that is what a deploy does.

Each step is idempotent, journaled and names its undo. Until users are on the new colour, a failure (or
Ctrl-C) undoes what was done, in reverse; after that the only way is forward, and `ppmctl deploy` run again
goes on where this one stopped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deploy import diagnosis, images, mend, migrate, proxy, prune, render, secrets
from deploy.errors import NotReady, UpgradeError
from deploy.release import Record, Release, other
from deploy.stack import ROLES
from deploy.transaction import Step, Upgrade

if TYPE_CHECKING:
    from deploy.config import Environment
    from deploy.host import Host


FULL_CPU_SHARES = 1024
"""Docker's own default. Until users come, a container has the small share that the Compose file gives it."""


def ship(upgrade: Upgrade) -> str:
    """Send the layers that the host lacks."""
    host = upgrade.host
    upgrade.bytes_sent = images.ship(host, upgrade.release.images, partial(upgrade.watcher.sent, host.name))
    prune.keep(host, upgrade.release)
    return f"{upgrade.bytes_sent:,} bytes sent" if upgrade.bytes_sent else "every layer is there"


def place(upgrade: Upgrade) -> str:
    """Lay the release's files and secrets on the host; both are never edited later."""
    environment, host = upgrade.environment, upgrade.host
    placed = secrets.place(host, upgrade.secrets)
    files = render.tree(environment, upgrade.release)
    host.write_tree(environment.directory / "releases" / upgrade.release.id, files)
    return f"{len(files)} files, {placed} new secret versions"


def start_proxy(upgrade: Upgrade) -> str:
    """Start the proxy, or leave it alone; routes come first, so that it never answers without."""
    stack = upgrade.stack
    if stack.live is None:
        proxy.route(upgrade.host, stack, live=None, preview=None)
    before = [c.id for c in stack.running("reverse-proxy")]
    _up(upgrade, "reverse-proxy")
    after = [c.id for c in upgrade.look_again().running("reverse-proxy")]
    return "unchanged" if before == after else "started"


def apply_migrations(upgrade: Upgrade) -> str:
    """Apply what the database lacks while the old colour serves; refuse what the old colour cannot bear."""
    host = upgrade.host
    found = migrate.pending(host, upgrade.compose, upgrade.target)
    upgrade.schema_before, upgrade.schema_after = found.current, found.head
    if not found.pending:
        return "none pending"
    if found.breaking and upgrade.stack.live is not None:
        names = ", ".join(f"{r.revision} ({r.summary})" for r in found.breaking)
        raise UpgradeError(
            f"{host.name}: the old release cannot run on these migrations: {names}",
            host=host.name,
            next='Split them into "expand" migrations, or mark as "expand" those that the old release can run on',
        )
    timeout = upgrade.environment.upgrade.migrate_timeout.total_seconds()
    migrate.apply(host, upgrade.compose, upgrade.target, timeout)
    return f"{found.current or 'nothing'} → {found.head}"


def start(upgrade: Upgrade) -> str:
    """Start the target colour; nobody is sent to it yet."""
    _up(upgrade, f"api-{upgrade.target}", f"frontend-{upgrade.target}")
    stack = upgrade.look_again()
    return ", ".join(c.name for role in ("api", "frontend") for c in stack.running(role, upgrade.target))


def await_ready(upgrade: Upgrade) -> str:
    """Wait until every new container answers through the proxy, on the path that users will take."""
    host, environment = upgrade.host, upgrade.environment
    proxy.route(host, upgrade.stack, live=upgrade.stack.live, preview=upgrade.target)
    timeout = environment.upgrade.ready_timeout.total_seconds()
    replicas = max(environment.services.api.replicas, environment.services.frontend.replicas)
    last = proxy.confirm_preview(host, upgrade.target, upgrade.release.id, replicas, timeout)
    if last is not None:
        raise NotReady(
            f"{host.name}: the new release was not ready after {timeout:g} s",
            host=host.name,
            seen=diagnosis.of(host, upgrade.look_again(), upgrade.target, last),
            next=f"Mend it and run: ppmctl deploy -e {environment.name}. A look at it: docker logs on {host.name}",
        )
    return "answers through the proxy"


def hand_over_worker(upgrade: Upgrade) -> str:
    """Drain the old worker, then start the new one: never two at once."""
    host, environment = upgrade.host, upgrade.environment
    old = upgrade.stack.active("worker", other(upgrade.target))
    _stop(host, [c.id for c in old])
    _up(upgrade, f"worker-{upgrade.target}")
    timeout = environment.upgrade.ready_timeout.total_seconds()
    last = proxy.confirm_worker(host, upgrade.release.id, timeout)
    workers = upgrade.look_again().running("worker", upgrade.target)
    if last is not None or not workers:
        raise NotReady(
            f"{host.name}: the new worker did not begin to work",
            host=host.name,
            seen=diagnosis.of(host, upgrade.stack, upgrade.target, last or "its container does not run"),
        )
    return workers[0].name


def switch(upgrade: Upgrade) -> str:
    """Send users to the target colour, and see that they are."""
    stack = upgrade.look_again()
    serving = [c.id for role in ("api", "frontend") for c in stack.running(role, upgrade.target)]
    upgrade.host.docker.container.update(serving, cpu_shares=FULL_CPU_SHARES)
    proxy.route(upgrade.host, stack, live=upgrade.target, preview=None)
    timeout = upgrade.environment.upgrade.switch_timeout.total_seconds()
    proxy.confirm_live(upgrade.host, upgrade.stack, upgrade.target, upgrade.release.id, timeout)
    return f"users are on {upgrade.target}"


def drain(upgrade: Upgrade) -> str:
    """Let the old colour end what it has in flight, then stop it; it stays for a rollback."""
    old = [c.id for role in ROLES for c in upgrade.stack.active(role, other(upgrade.target))]
    _stop(upgrade.host, old)
    return f"{len(old)} containers stopped" if old else "nothing to drain"


def record(upgrade: Upgrade) -> str:
    """Write release.json, point `current` at it, and remove what is too old to return to."""
    host, release, directory = upgrade.host, upgrade.release, upgrade.environment.directory
    was = upgrade.stack.record
    previous = None if was is None else was.previous if was.id == release.id else was.id
    entry = Record(
        release=release,
        color=upgrade.target,
        previous=previous,
        source=upgrade.source,
        who=upgrade.who,
        when=datetime.now(UTC),
        schema_before=upgrade.schema_before,
        schema_after=upgrade.schema_after,
        bytes_sent=upgrade.bytes_sent,
        steps=tuple(upgrade.times),
    )
    host.write(directory / "releases" / release.id / "release.json", entry.model_dump_json())
    host.link(directory / "current", f"releases/{release.id}")
    removed = prune.prune(host, keep=upgrade.environment.upgrade.keep_releases)
    return f"release {release.id}" + (f"; older ones removed: {removed}" if removed else "")


def stop_target(upgrade: Upgrade) -> None:
    """Take the preview away and stop the new containers; they stay for a look."""
    stack = upgrade.look_again()
    proxy.route(upgrade.host, stack, live=stack.live, preview=None)
    _stop(upgrade.host, [c.id for role in ("api", "frontend") for c in stack.active(role, upgrade.target)])


def give_back_worker(upgrade: Upgrade) -> None:
    """Stop the new worker and start the old one again."""
    stack = upgrade.look_again()
    _stop(upgrade.host, [c.id for c in stack.active("worker", upgrade.target)])
    if old := [c.id for c in stack.of("worker", other(upgrade.target))]:
        upgrade.host.docker.container.start(old)


def switch_back(upgrade: Upgrade) -> None:
    """Send users to the old colour again."""
    old = other(upgrade.target)
    stack = upgrade.look_again()
    if not stack.running("api", old):
        return
    proxy.route(upgrade.host, stack, live=old, preview=None)
    timeout = upgrade.environment.upgrade.switch_timeout.total_seconds()
    if (release := stack.release(old)) is not None:
        proxy.confirm_live(upgrade.host, stack, old, release, timeout)


def _up(upgrade: Upgrade, *services: str) -> None:
    upgrade.compose.compose.up(list(services), detach=True, dependencies=False, no_build=True, quiet=True)


def _stop(host: Host, containers: list[str]) -> None:
    """Stop containers side by side, each with the grace period that Compose gave it."""
    if containers:
        host.docker.container.stop(containers)


@contextmanager
def compose_file(environment: Environment, release: Release) -> Iterator[Path]:
    """Yield the rendered Compose file on this machine, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="ppmctl-") as scratch:
        file = Path(scratch) / render.COMPOSE
        file.write_text(render.compose(environment, release))
        yield file


STEPS: tuple[Step, ...] = (
    Step("ship", ship),
    Step("place", place),
    Step("mend", mend.mend),
    Step("proxy", start_proxy),
    Step("migrate", apply_migrations),
    Step("start", start, undo=stop_target),
    Step("ready", await_ready),
    Step("worker", hand_over_worker, undo=give_back_worker),
    Step("switch", switch, undo=switch_back, final=True),
    Step("drain", drain),
    Step("record", record),
)
