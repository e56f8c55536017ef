"""Current state of the environment's stack on a host: containers by label, the live color, the last record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.config.environment import Model
from ppmkit.release import render
from ppmkit.release.model import COLORS, Color, Record
from ppmkit.release.records import last_record
from ppmkit.release.render import Servers

if TYPE_CHECKING:
    from python_on_whales.components.container.models import ContainerInspectResult

    from ppmkit.host.host import Host

PORTS = {"api": 8000, "frontend": 8080}
ROLES = ("api", "frontend", "worker")


class Setup(Model):
    """A container's configuration, as far as a Compose file determines it. None: not specified."""

    image: str | None = None
    user: str | None = None
    read_only: bool | None = None
    cap_drop: tuple[str, ...] | None = None
    security_opt: tuple[str, ...] | None = None
    environment: dict[str, str | None] | None = None
    memory: int | None = None
    """In bytes, like memory_swap."""
    memory_swap: int | None = None
    cpus: float | None = None
    pids: int | None = None
    restart: str | None = None
    config_hash: str | None = None
    """Compose's digest of the service. Another version of Compose may compute another digest for the same service."""
    compose_version: str | None = None


class Found(Model):
    """One container of the stack."""

    id: str
    name: str
    role: str
    color: Color | None
    release: str | None
    status: str
    """Docker's status: running, exited, restarting, …"""
    health: str | None
    exit_code: int
    oom_killed: bool
    started: datetime | None
    setup: Setup = Setup()

    @property
    def service(self) -> str:
        """The service's name in the Compose file."""
        return f"{self.role}-{self.color}" if self.color else self.role

    @property
    def running(self) -> bool:
        """Whether the container's process is running."""
        return self.status == "running"

    @property
    def active(self) -> bool:
        """Whether the container is running or the engine will restart it: only `docker stop` ends that."""
        return self.status in ("running", "restarting", "paused")


class Stack(Model):
    """The state of one host."""

    containers: tuple[Found, ...]
    live: Color | None
    """The color that the proxy sends users to. If its routes are unreadable: the color of the last record."""
    record: Record | None
    """The record that ``current`` points at."""

    def of(self, role: str, color: Color | None = None) -> tuple[Found, ...]:
        """Return the containers of a role, in both colors or one, running or not."""
        return tuple(c for c in self.containers if c.role == role and color in (None, c.color))

    def running(self, role: str, color: Color | None = None) -> tuple[Found, ...]:
        """Return the running containers of :meth:`of`."""
        return tuple(c for c in self.of(role, color) if c.running)

    def active(self, role: str, color: Color | None = None) -> tuple[Found, ...]:
        """Return the containers of :meth:`of` that are running or about to be restarted."""
        return tuple(c for c in self.of(role, color) if c.active)

    def release(self, color: Color) -> str | None:
        """Return the release of a color's api containers, or None if there are none or they differ."""
        releases = {c.release for c in self.of("api", color)}
        return releases.pop() if len(releases) == 1 else None

    def servers(self, colors: Iterable[Color | None]) -> Servers:
        """Return the URLs of these colors' active containers, for the proxy."""
        return {
            color: {role: [f"http://{c.name}:{port}" for c in self.active(role, color)] for role, port in PORTS.items()}
            for color in COLORS
            if color in colors
        }


def containers(host: Host) -> tuple[Found, ...]:
    """Return the containers of the environment on the host, by name."""
    from python_on_whales.components.container.models import ContainerInspectResult
    from python_on_whales.utils import run

    docker, project = host.docker, host.environment.project
    listed = docker.container.list(
        all=True,
        filters=[
            ("label", f"com.docker.compose.project={project}"),
            ("label", "com.docker.compose.oneoff=False"),
            ("label", "ppm.role"),
        ],
    )
    if not listed:
        return ()
    # One request for all: the library would inspect each container, several times, and every step needs this state.
    output = run([*docker.client_config.docker_cmd, "container", "inspect", *(container.id for container in listed)])
    inspected = [ContainerInspectResult(**document) for document in json.loads(str(output))]
    return tuple(sorted((_found(container) for container in inspected), key=lambda container: container.name))


_INSPECTED = "docker inspect returns it for every container"


def _found(container: ContainerInspectResult) -> Found:
    state = container.state
    assert container.config is not None, _INSPECTED
    assert state is not None, _INSPECTED
    labels = container.config.labels or {}
    return Found(
        id=container.id,
        name=(container.name or "").removeprefix("/"),
        role=labels["ppm.role"],
        color=labels.get("ppm.color"),
        release=labels.get("ppm.release"),
        status=state.status or "unknown",
        health=state.health.status if state.health else None,
        exit_code=state.exit_code or 0,
        oom_killed=bool(state.oom_killed),
        started=state.started_at,
        setup=_setup(container),
    )


def _setup(container: ContainerInspectResult) -> Setup:
    config, limits = container.config, container.host_config
    assert config is not None, _INSPECTED
    assert limits is not None, _INSPECTED
    labels = config.labels or {}
    return Setup(
        image=config.image,
        user=config.user or "",
        read_only=bool(limits.readonly_rootfs),
        cap_drop=tuple(limits.cap_drop or ()),
        security_opt=tuple(limits.security_opt or ()),
        environment={name: value for name, _, value in (line.partition("=") for line in config.env or ())},
        memory=limits.memory or 0,
        memory_swap=limits.memory_swap or 0,
        cpus=(limits.nano_cpus or 0) / 1e9,
        pids=limits.pids_limit or 0,
        restart=limits.restart_policy.name if limits.restart_policy else "no",
        config_hash=labels.get("com.docker.compose.config-hash"),
        compose_version=labels.get("com.docker.compose.version"),
    )


def inspect(host: Host) -> Stack:
    """Return what is on the host. Raises HostError when a record there cannot be read."""

    record = last_record(host)
    live = live_color(host) or (record.color if record else None)
    return Stack(containers=containers(host), live=live, record=record)


def routes_file(host: Host) -> PurePosixPath:
    return host.environment.directory / "traefik" / "dynamic" / render.ROUTES


def live_color(host: Host) -> Color | None:
    """Return the color that users are sent to, according to the routes on the host.

    None before the first deploy, and if the routes are unreadable.
    """
    text = host.read(routes_file(host))
    if text is None:
        return None
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        routers = YAML(typ="safe").load(text)["http"]["routers"]
        # A canary splits only the api's requests, and maintenance closes the frontend.
        services = {routers[role]["service"] for role in ("frontend", "api") if role in routers}
    except (YAMLError, LookupError, TypeError):
        return None
    return next((color for color in COLORS if services & {f"frontend-{color}", f"api-{color}"}), None)
