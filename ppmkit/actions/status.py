"""`ppmctl status`: what runs where, and whether all is well. The verdict is pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ppmkit.actions import recover
from ppmkit.backup import status as facts
from ppmkit.backup.status import Facts
from ppmkit.config.environment import Environment, HostAddress, Model
from ppmkit.errors import PpmctlError
from ppmkit.host import lock, version
from ppmkit.host.host import Host
from ppmkit.local.pool import Crew
from ppmkit.orchestrator.stack import ROLES, Stack, inspect
from ppmkit.proxy import certificates
from ppmkit.proxy.probe import answer
from ppmkit.release.model import Color

if TYPE_CHECKING:
    import httpx


class Check(Model):
    """One thing that was looked at."""

    name: str
    ok: bool
    seen: str


class ServiceStatus(Model):
    """The containers of one service and colour."""

    name: str
    color: Color | None
    release: str | None
    running: int
    wanted: int
    since: datetime | None


class HostStatus(Model):
    """One host."""

    name: str
    release: str | None
    color: Color | None
    services: tuple[ServiceStatus, ...]
    backups: Facts | None
    """What the steward knows of them."""
    checks: tuple[Check, ...]


class Status(Model):
    """What `status --json` prints."""

    environment: str
    url: str
    healthy: bool
    problems: tuple[str, ...]
    hosts: tuple[HostStatus, ...]


def status(environment: Environment) -> Status:
    """Look at every host, side by side. A host that cannot be reached is a problem, not an error."""
    with Crew() as crew:
        hosts = tuple(crew.map(lambda address: _host(environment, address), environment.hosts))
    problems = tuple(f"{host.name}: {c.name}: {c.seen}" for host in hosts for c in host.checks if not c.ok)
    return Status(
        environment=environment.name,
        url=environment.url,
        healthy=not problems,
        problems=problems,
        hosts=hosts,
    )


def _host(environment: Environment, address: HostAddress) -> HostStatus:
    from python_on_whales import DockerException

    backups, checks = None, list[Check]()
    try:
        with Host.connect(environment, address) as host:
            checks += _version(host)
            stack = inspect(host)
            checks += [*verdict(environment, stack), *_unfinished(host)]
            if stack.live is not None:
                release = stack.release(stack.live)
                checks += [_answers("ready", host.internal, "/readyz", release)]
                checks += [_answers(path, host.public, path, release) for path in ("/", "/api/system")]
                backups = facts.read(host)
                checks += _backups(backups)
                if host.proxy_settings.tls:
                    ok, seen = certificates.look(host)
                    checks.append(Check(name="certificate", ok=ok, seen=seen))
    except PpmctlError as error:
        return _unknown(address.name, *checks, Check(name="reach", ok=False, seen=error.message))
    except DockerException as error:
        said = (error.stderr or str(error)).strip()
        return _unknown(address.name, *checks, Check(name="docker", ok=False, seen=said))
    record = stack.record
    return HostStatus(
        name=address.name,
        release=record.id if record else None,
        color=stack.live,
        services=services(environment, stack),
        backups=backups,
        checks=tuple(checks),
    )


def _version(host: Host) -> Iterator[Check]:
    """Yield what is wrong when a newer ppmctl has changed the host: all that is said of it besides may be wrong."""
    if (error := version.look(host)) is not None:
        yield Check(name="ppmctl", ok=False, seen=f"{error.message.removeprefix(f'{host.name}: ')}. {error.next}")


def _unfinished(host: Host) -> Iterator[Check]:
    """Yield what is wrong about an operation that has not ended, unless somebody is at it."""
    found = recover.unfinished(host)
    if found is not None and not lock.is_held(host):
        what = f"the {found.intent.kind} of {found.intent.release.id} by {found.who} did not end"
        yield Check(name="operation", ok=False, seen=f"{what}; run: ppmctl resume, or ppmctl abort")


def _backups(found: Facts | None) -> list[Check]:
    wrong = [Check(name="backups", ok=False, seen=seen) for seen in facts.problems(found, datetime.now(UTC))]
    return wrong or [Check(name="backups", ok=True, seen="ok")]


def _unknown(name: str, *checks: Check) -> HostStatus:
    return HostStatus(name=name, release=None, color=None, services=(), backups=None, checks=checks)


def _answers(name: str, client: httpx.Client, path: str, release: str | None) -> Check:
    bad = answer(client, path, release or "")
    return Check(name=name, ok=bad is None, seen=bad or "200")


def services(environment: Environment, stack: Stack) -> tuple[ServiceStatus, ...]:
    """Return the services that run or should, the live colour's first."""
    rows: list[tuple[str, Color | None, int]] = [("reverse-proxy", None, 1), ("steward", None, 1)]
    replicas = {"api": environment.services.api.replicas, "frontend": environment.services.frontend.replicas}
    present: set[Color] = {c.color for c in stack.containers if c.color}
    for live in sorted(present, key=lambda color: color != stack.live):
        rows += [(role, live, replicas.get(role, 1) if live == stack.live else 0) for role in ROLES]
    found = []
    for role, color, wanted in rows:
        all_of, running = stack.of(role, color), stack.running(role, color)
        if wanted or all_of:
            release = all_of[0].release if all_of else None
            since = max((c.started for c in running if c.started), default=None)
            found.append(
                ServiceStatus(name=role, color=color, release=release, running=len(running), wanted=wanted, since=since)
            )
    return tuple(found)


def verdict(environment: Environment, stack: Stack) -> tuple[Check, ...]:
    """Given what was found, return what can be judged without asking the application."""
    if stack.live is None:
        return (
            Check(
                name="release",
                ok=False,
                seen=f"nothing is deployed; run: ppmctl deploy -e {environment.name}",
            ),
        )
    live = stack.release(stack.live)
    recorded = stack.record.id if stack.record else None
    checks = [
        Check(
            name="release",
            ok=live == recorded,
            seen=f"{live} serves" if live == recorded else f"{live} serves, {recorded} is recorded: run deploy again",
        )
    ]
    for service in services(environment, stack):
        name = f"{service.name}-{service.color}" if service.color else service.name
        checks.append(
            Check(
                name=name,
                ok=service.running == service.wanted,
                seen=f"{service.running} of {service.wanted} run",
            )
        )
    unwell = [c.name for c in stack.containers if c.running and c.health == "unhealthy"]
    checks.append(Check(name="health", ok=not unwell, seen=f"unhealthy: {', '.join(unwell)}" if unwell else "ok"))
    return tuple(checks)
