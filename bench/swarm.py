"""A peer in the upgrade benchmark: the same stack, in one color, as Docker Swarm runs it.

Rolling updates with `order: start-first`, one replica after another, each healthy before the next. Traefik finds the
tasks with its Swarm provider, as its manual says, and polls every second (the default is 15 s, with which it would send
requests to tasks that ended long ago). It listens on the host's port 443, without TLS: our stack does not use it.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx
from ruamel.yaml import YAML

from bench import POLITE
from bench.compose import await_answer, one_color
from ppmkit.host.host import Host
from ppmkit.local.engine import local_docker
from ppmkit.release.model import Release

STACK = "swarm"
PORTS = {"api-blue": 8000, "frontend-blue": 8080}
RULES = {"api-blue": "PathPrefix(`/api`)", "frontend-blue": "PathPrefix(`/`)"}
ONLY_COMPOSE = (
    *("pull_policy", "restart", "scale", "mem_limit", "memswap_limit", "cpus", "pids_limit"),
    *("security_opt", "tmpfs"),
)
"""Settings that Swarm names differently, or lacks."""


@dataclass
class SwarmStack:
    """The peer, running."""

    host: Host
    scratch: Path
    url: str

    def docker(self, *argv: str) -> str:
        """Run docker against the host; return its stdout."""
        command = [*POLITE, "docker", "-H", f"unix://{self.host.docker_socket}", *argv]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(argv)}: {done.stderr[-2000:]}")
        return done.stdout

    @property
    def file(self) -> Path:
        """The stack's file."""
        return self.scratch / "stack.yaml"

    def write(self, release: Release) -> None:
        """Write the stack's file for a release, as a user of Swarm would write it."""
        stack = one_color(self.host.environment, release)
        services = {name: _service(name, service) for name, service in stack["services"].items()}
        secrets = {name: {"file": str(self.scratch / name)} for name in stack["secrets"]}
        for name in secrets:  # new ones: only our services can read our secrets
            (self.scratch / name).write_text(token_urlsafe())
        networks = {name: {"driver": "overlay"} for name in stack["networks"]}
        written = {"version": "3.9", "services": services, "secrets": secrets, "networks": networks}
        with self.file.open("w") as out:
            YAML().dump(written | {"volumes": stack["volumes"]}, out)

    def token(self) -> str:
        """Return an API token."""
        service = f"label=com.docker.swarm.service.name={STACK}_api-blue"
        container = self.docker("ps", "--quiet", "--filter", service).split()[0]
        output = self.docker("exec", container, "ppm", "token", "create", f"bench-{time.time_ns()}")
        return output.strip().splitlines()[-1]

    def deploy(self) -> None:
        """Deploy the stack from its file; return when every task is running."""
        self.docker("stack", "deploy", "--detach=false", "--resolve-image", "never", "-c", str(self.file), STACK)

    def upgrade(self) -> None:
        """Upgrade as the manual says: change the release, deploy the stack, wait until the update is complete."""
        before = httpx.get(f"{self.url}/api/system").headers["X-PPM-Release"]
        self.file.write_text(self.file.read_text().replace(before, f"{before}-next"))
        self.deploy()


def _service(name: str, service: dict[str, Any]) -> dict[str, Any]:
    """Given a service in Compose's form, return it in Swarm's form."""
    kept = {key: value for key, value in service.items() if key not in {*ONLY_COMPOSE, "labels"}}
    kept["volumes"] = [*service.get("volumes", ()), {"type": "tmpfs", "target": "/tmp"}]
    kept["deploy"] = {
        "replicas": service.get("scale", 1),
        "endpoint_mode": "dnsrr",  # not every kernel has IPVS, and Traefik connects to the tasks directly anyway
        "update_config": {"order": "start-first", "parallelism": 1, "failure_action": "rollback"},
        "resources": {
            "limits": {
                "cpus": str(service["cpus"]),
                "memory": str(service["mem_limit"]),
                "pids": service["pids_limit"],
            }
        },
    }
    if name == "reverse-proxy":
        return kept | _proxy()
    if name in PORTS:
        kept["deploy"]["labels"] = {
            "traefik.enable": "true",
            f"traefik.http.routers.{name}.rule": RULES[name],
            f"traefik.http.services.{name}.loadbalancer.server.port": str(PORTS[name]),
        }
    return kept


def _proxy() -> dict[str, Any]:
    """Return the settings with which Traefik finds the tasks: it needs the engine's socket, and therefore root."""
    return {
        "user": "0:0",
        "command": [
            "--entryPoints.web.address=:8000",
            "--entryPoints.internal.address=:8081",
            "--ping=true",
            "--ping.entryPoint=internal",
            "--providers.swarm.endpoint=unix:///var/run/docker.sock",
            "--providers.swarm.exposedByDefault=false",
            f"--providers.swarm.network={STACK}_inner",
            "--providers.swarm.refreshSeconds=1",
        ],
        "ports": [{"target": 8000, "published": 443, "mode": "host"}],
        "volumes": ["/var/run/docker.sock:/var/run/docker.sock:ro"],
    }


@contextmanager
def swarm_stack(host: Host, release: Release, url: str) -> Iterator[SwarmStack]:
    """Yield the peer, running and answering at ``url``. At the end, remove it with its volume; the host leaves the
    swarm."""
    with tempfile.TemporaryDirectory(prefix="ppmctl-bench-") as scratch:
        stack = SwarmStack(host, Path(scratch), url)
        stack.write(release)
        _live_restore(host, on=False)
        stack.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
        try:
            stack.deploy()
            await_answer(f"{stack.url}/api/system")
            yield stack
        finally:
            stack.docker("stack", "rm", STACK)
            stack.docker("swarm", "leave", "--force")
            _remove_volumes(stack)
            _live_restore(host, on=True)


def _live_restore(host: Host, *, on: bool) -> None:
    """Turn live-restore on or off: with it, containers keep running without their engine, as on provisioned hosts.
    Swarm refuses to run with it.

    Restart the engine: one that has left a swarm still lists its networks, which the next stack would take for its own.
    """
    before, after = str(not on).lower(), str(on).lower()
    change = f's/"live-restore": {before}/"live-restore": {after}/'
    restart = f"sed -i '{change}' /etc/docker/daemon.json && systemctl restart docker"
    local_docker().container.execute(f"ppm-{host.name}", ["sh", "-c", restart])
    host.await_docker()


def _remove_volumes(stack: SwarmStack) -> None:
    """Remove the containers of ended tasks, and then the volumes that they used."""
    label = f"label=com.docker.stack.namespace={STACK}"
    for container in stack.docker("ps", "--all", "--quiet", "--filter", label).split():
        stack.docker("rm", "--force", container)
    for volume in stack.docker("volume", "ls", "--quiet", "--filter", label).split():
        stack.docker("volume", "rm", volume)
