"""A peer in the upgrade benchmark: the same stack, in one color, as `docker compose up -d` runs it.

It has the same limits, images and health checks as our stack, but a separate project and volume. Its Traefik listens on
the host's port 443, without TLS: our stack does not use that port.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
from ruamel.yaml import YAML

from bench import POLITE
from ppmkit.config.environment import Environment
from ppmkit.host.host import Host
from ppmkit.release import render
from ppmkit.release.model import Release

PROJECT = "peer"
ROUTES = """
http:
  routers:
    api: {entryPoints: [web], rule: PathPrefix(`/api`), service: api}
    frontend: {entryPoints: [web], rule: PathPrefix(`/`), service: frontend}
  services:
    api: {loadBalancer: {servers: [{url: "http://api-blue:8000"}]}}
    frontend: {loadBalancer: {servers: [{url: "http://frontend-blue:8080"}]}}
"""


@dataclass
class ComposeStack:
    """The peer, running."""

    host: Host
    directory: PurePosixPath
    file: Path
    url: str

    def compose(self, *argv: str) -> str:
        """Run docker compose against the host; return its stdout."""
        docker = ["docker", "-H", f"unix://{self.host.docker_socket}"]
        command = [*POLITE, *docker, "compose", "-p", PROJECT, "-f", str(self.file)]
        done = subprocess.run([*command, *argv], check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"docker compose {' '.join(argv)}: {done.stderr[-2000:]}")
        return done.stdout

    def write(self, release: Release) -> None:
        """Write the Compose file for a release, as a user of plain Compose would write it."""
        stack = one_color(self.host.environment, release)
        stack["services"]["reverse-proxy"]["ports"] = ["443:8000"]
        stack["services"]["reverse-proxy"]["volumes"][0]["source"] = str(self.directory)
        with self.file.open("w") as out:
            YAML().dump(stack | {"name": PROJECT}, out)

    def token(self) -> str:
        """Return an API token."""
        return (
            self.compose("exec", "-T", "api-blue", "ppm", "token", "create", f"bench-{time.time_ns()}")
            .strip()
            .splitlines()[-1]
        )

    def upgrade(self) -> None:
        """Upgrade as the manual says: change the release, run `docker compose up -d`, wait until it is healthy."""
        before = httpx.get(f"{self.url}/api/system").headers["X-PPM-Release"]
        text = self.file.read_text()
        self.file.write_text(text.replace(before, f"{before}-next"))
        self.compose("up", "-d", "--wait")


@contextmanager
def compose_stack(host: Host, release: Release, url: str) -> Iterator[ComposeStack]:
    """Yield the peer, running and answering at ``url``; at the end, remove it with its volume."""
    directory = host.environment.directory / "peer"
    with tempfile.TemporaryDirectory(prefix="ppmctl-bench-") as scratch:
        stack = ComposeStack(host, directory, Path(scratch) / "compose.yaml", url)
        host.write(directory / "routes.yaml", ROUTES)
        stack.write(release)
        try:
            stack.compose("up", "-d", "--wait")
            await_answer(f"{stack.url}/api/system")
            yield stack
        finally:
            stack.compose("down", "--volumes", "--timeout", "5")
            host.run(["rm", "-rf", str(directory)])


def one_color(environment: Environment, release: Release) -> dict[str, Any]:
    """Return our stack as Compose without the parts for blue/green: the services of one color, and the proxy."""
    stack: dict[str, Any] = YAML(typ="safe").load(render.compose(environment, release))
    services = {}
    for name, service in stack["services"].items():
        if name == "reverse-proxy" or name.endswith("-blue"):
            for key in ("profiles", "cpu_shares"):  # the small share is for containers that have no users yet
                service.pop(key, None)
            service["labels"] = {}
            services[name] = service
    services["api-blue"]["environment"]["MIGRATE_AT_START"] = "true"
    return stack | {"services": services}


def await_answer(url: str) -> None:
    """Wait until the URL answers 200. Raises TimeoutError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer")
