"""Inspection of a host, in few calls, for a plan: the stack, its files, its secrets' versions."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ppmkit.errors import ConfigError, HostError
from ppmkit.local import bounded
from ppmkit.local.pool import Pool
from ppmkit.local.scratch import scratch
from ppmkit.orchestrator.stack import Stack, inspect
from ppmkit.plan import diff, drift
from ppmkit.plan.decide import base_release, decide
from ppmkit.plan.model import Plan
from ppmkit.release import render
from ppmkit.release.model import COLORS, Release
from ppmkit.secrets import on_host

if TYPE_CHECKING:
    from ppmkit.host.host import Host

# Prints a line for every file below the paths: its path, a tab, its content in base64.
_READ = """
cd "$1" 2>/dev/null || exit 0
shift
for path; do
  find "$path" -type f ! -name release.json ! -name sbom.json ! -name steward.json \
    ! -path 'releases/*/settings.json' 2>/dev/null
done | while read -r file; do
  printf '%s\\t' "$file"; base64 -w 0 "$file"; echo
done
"""


@dataclass(frozen=True)
class HostState:
    """One host's state: its stack, the release that it should have, and what a deploy would do."""

    stack: Stack
    base: Release | None
    """The release that serves, or is recorded; None before the first deployment."""
    evidence: drift.Evidence | None
    drift: tuple[drift.Drift, ...]
    plan: Plan


def inspect_host(host: Host, wanted: Release, rendered: dict[str, str]) -> HostState:
    """Inspect the host and make a plan. ``rendered`` has the wanted release's files. Changes nothing."""
    stack = inspect(host)
    base = base_release(wanted, stack)
    evidence: drift.Evidence | None = None
    found: tuple[drift.Drift, ...] = ()
    with Pool() as pool:
        replaces = pool.start(_replaces_proxy, host, stack, rendered)
        if base is not None:
            evidence = _evidence(host, base, rendered if base.id == wanted.id else None, stack)
            found = drift.find(base, wanted, rendered, stack, evidence)
    settings = diff.settings(evidence.settings, render.steward(host.environment)) if evidence else ()
    plan = decide(host.environment, wanted, stack, found, settings, replaces_proxy=replaces.result())
    return HostState(stack, base, evidence, found, plan)


def _evidence(host: Host, base: Release, known: dict[str, str] | None, stack: Stack) -> drift.Evidence:
    with Pool() as pool:
        foreign_containers = pool.start(_foreign_containers, host, {c.name for c in stack.containers})
        placed = pool.start(on_host.read, host, base.secrets, base.images.steward)
        services = pool.start(intended, known[render.COMPOSE], host.environment.project) if known else None
        found = _files(host, base)
        folder = f"releases/{base.id}/"
        files = {path.removeprefix(folder): text for path, text in found.items() if path.startswith(folder)}
        if services is None and drift.intact(base.id, files):
            services = pool.start(intended, files[render.COMPOSE], host.environment.project)
        return drift.Evidence(
            files=files,
            routes=found.get(drift.ROUTES),
            usual_routes=_usual_routes(host, stack),
            certificates=found.get(drift.CERTIFICATES),
            settings=found.get(render.SETTINGS),
            secrets=placed.result(),
            foreign_containers=foreign_containers.result(),
            services=services.result() if services else {},
        )


def _usual_routes(host: Host, stack: Stack) -> str:
    live = stack.live or COLORS[0]
    return render.routes(host.proxy_settings, live=live, preview=live, servers=stack.servers((live,)))


def _files(host: Host, base: Release) -> dict[str, str]:
    paths = [drift.ROUTES, drift.CERTIFICATES, render.SETTINGS, f"releases/{base.id}"]
    lines = host.run(["sh", "-c", _READ, "sh", str(host.environment.directory), *paths]).stdout.splitlines()
    parts = (line.partition("\t") for line in lines)
    return {path: base64.b64decode(content).decode(errors="replace") for path, _, content in parts}


def _foreign_containers(host: Host, known: set[str]) -> tuple[str, ...]:
    """Return the names of containers on the environment's networks or volumes that are not part of its stack."""
    columns = '{{.Names}}\t{{.Networks}},{{.Mounts}}\t{{.Label "com.docker.compose.oneoff"}}'
    argv = ["docker", "-H", f"unix://{host.docker_socket}", "ps", "-a", "--no-trunc", "--format", columns]
    listing = bounded.run(argv, timeout=60)
    if listing.returncode:
        raise HostError(f"{host.name}: the engine cannot list its containers", host=host.name, seen=listing.stderr)
    return tuple(sorted(_foreign(listing.stdout, f"{host.environment.project}_", known)))


def _foreign(listed: str, prefix: str, known: set[str]) -> Iterator[str]:
    for line in listed.splitlines():
        name, resources, oneoff = line.split("\t")
        touches = any(resource.startswith(prefix) for resource in resources.split(","))
        if touches and name not in known and oneoff != "True":
            yield name


@cache
def intended(compose: str, project: str) -> dict[str, drift.Intended]:
    """Given a Compose file, return its services as Docker Compose on this machine reads them. Raises ConfigError."""
    from ppmkit.local.engine import client

    with scratch() as folder, Pool() as pool:
        file = folder / render.COMPOSE
        file.write_text(compose, encoding="utf-8")
        docker = client(compose_files=[file], compose_project_name=project, compose_profiles=["blue", "green"])
        argv = [str(part) for part in docker.compose.docker_compose_cmd]
        commands = [["config", "--format", "json"], ["config", "--hash", "*"], ["version", "--short"]]
        config, hashes, version = pool.map(lambda command: _output([*argv, *command]), commands)
    by_service = dict(line.split() for line in hashes.splitlines())
    # Compose prints a Compose file, in which each `$` of a value is doubled.
    return drift.intended(json.loads(config.replace("$$", "$")), by_service, version.strip())


@cache
def config_hash(compose: str, project: str, service: str) -> str:
    """Given a Compose file, return Compose's digest of one service: a container with another digest is replaced.

    Raises ConfigError.
    """
    from ppmkit.local.engine import client

    with scratch() as folder:
        file = folder / render.COMPOSE
        file.write_text(compose, encoding="utf-8")
        docker = client(compose_files=[file], compose_project_name=project, compose_profiles=["blue", "green"])
        argv = [str(part) for part in docker.compose.docker_compose_cmd]
        return _output([*argv, "config", "--hash", service]).split()[-1]


def _replaces_proxy(host: Host, stack: Stack, rendered: dict[str, str]) -> bool:
    """Return whether deploying the wanted release replaces the proxy's container."""
    project = host.environment.project
    return any(
        container.setup.config_hash != config_hash(rendered[render.COMPOSE], project, container.role)
        for container in stack.active("reverse-proxy")
    )


def _output(argv: list[str]) -> str:
    result = bounded.run(argv, timeout=60)
    if result.returncode:
        raise ConfigError("Docker Compose rejects the Compose file", step="plan", seen=result.stderr.strip())
    return result.stdout


def has_data(host: Host) -> bool:
    """Return whether the environment has a volume, left by an earlier deployment."""
    label = f"com.docker.compose.project={host.environment.project}"
    return bool(host.docker.volume.list(filters={"label": label}))
