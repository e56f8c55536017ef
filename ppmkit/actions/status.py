"""`ppmctl status`: what runs where, and problems. The verdict is pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ppmkit.actions import recover
from ppmkit.backup.status import Facts, problems, read
from ppmkit.config.environment import Environment, HostAddress, Model
from ppmkit.errors import PpmctlError
from ppmkit.host import lock, version
from ppmkit.host.host import Host
from ppmkit.local.pool import Pool
from ppmkit.orchestrator.stack import ROLES, Stack, inspect
from ppmkit.proxy import certificates
from ppmkit.proxy.probe import answer
from ppmkit.release.model import Color

if TYPE_CHECKING:
    import httpx


class Check(Model):
    """The result of one check."""

    name: str
    ok: bool
    seen: str


class ServiceStatus(Model):
    """The containers of one service and color."""

    name: str
    color: Color | None
    release: str | None
    running: int
    wanted: int
    since: datetime | None


class HostStatus(Model):
    """The status of one host."""

    name: str
    release: str | None
    color: Color | None
    services: tuple[ServiceStatus, ...]
    backups: Facts | None
    """The steward's report on backups."""
    checks: tuple[Check, ...]


class Status(Model):
    """Output of `status --json`."""

    environment: str
    url: str
    healthy: bool
    problems: tuple[str, ...]
    hosts: tuple[HostStatus, ...]


def status(environment: Environment) -> Status:
    """Inspect every host in parallel. A host that cannot be reached is a problem, not an error."""
    with Pool() as pool:
        hosts = tuple(pool.map(lambda address: _host(environment, address), environment.hosts))
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
                backups = read(host)
                checks += _backups(backups)
                if host.proxy_settings.tls:
                    ok, seen = certificates.look(host)
                    checks.append(Check(name="certificate", ok=ok, seen=seen))
    except PpmctlError as error:
        return _unknown(address.name, *checks, Check(name="reach", ok=False, seen=error.message))
    except DockerException as error:
        message = (error.stderr or str(error)).strip()
        return _unknown(address.name, *checks, Check(name="docker", ok=False, seen=message))
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
    """Yield a failed check when a newer ppmctl has changed the host: all other checks may be wrong then."""
    if (error := version.look(host)) is not None:
        yield Check(name="ppmctl", ok=False, seen=f"{error.message.removeprefix(f'{host.name}: ')}. {error.next}")


def _unfinished(host: Host) -> Iterator[Check]:
    """Yield a failed check for an unfinished operation, unless the host is locked, that is, it is still in progress."""
    unfinished = recover.unfinished(host)
    if unfinished is not None and not lock.is_held(host):
        what = f"the {unfinished.intent.kind} of {unfinished.intent.release.id} by {unfinished.who} did not end"
        yield Check(name="operation", ok=False, seen=f"{what}; run: ppmctl resume, or ppmctl abort")


def _backups(report: Facts | None) -> list[Check]:
    failed = [Check(name="backups", ok=False, seen=seen) for seen in problems(report, datetime.now(UTC))]
    return failed or [Check(name="backups", ok=True, seen="ok")]


def _unknown(name: str, *checks: Check) -> HostStatus:
    return HostStatus(name=name, release=None, color=None, services=(), backups=None, checks=checks)


def _answers(name: str, client: httpx.Client, path: str, release: str | None) -> Check:
    bad = answer(client, path, release or "")
    return Check(name=name, ok=bad is None, seen=bad or "200")


def services(environment: Environment, stack: Stack) -> tuple[ServiceStatus, ...]:
    """Return the services that run or should run, the live color's first."""
    rows: list[tuple[str, Color | None, int]] = [("reverse-proxy", None, 1), ("steward", None, 1)]
    replicas = {"api": environment.services.api.replicas, "frontend": environment.services.frontend.replicas}
    present: set[Color] = {c.color for c in stack.containers if c.color}
    for present_color in sorted(present, key=lambda color: color != stack.live):
        is_live = present_color == stack.live
        rows += [(role, present_color, replicas.get(role, 1) if is_live else 0) for role in ROLES]
    statuses = []
    for role, color, wanted in rows:
        containers, running = stack.of(role, color), stack.running(role, color)
        if wanted or containers:
            release = containers[0].release if containers else None
            since = max((c.started for c in running if c.started), default=None)
            statuses.append(
                ServiceStatus(name=role, color=color, release=release, running=len(running), wanted=wanted, since=since)
            )
    return tuple(statuses)


def verdict(environment: Environment, stack: Stack) -> tuple[Check, ...]:
    """Given the stack, return the checks that need no answer from the application."""
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
                seen=f"{service.running} of {service.wanted} running",
            )
        )
    unhealthy = [c.name for c in stack.containers if c.running and c.health == "unhealthy"]
    checks.append(
        Check(name="health", ok=not unhealthy, seen=f"unhealthy: {', '.join(unhealthy)}" if unhealthy else "ok")
    )
    return tuple(checks)
