"""One-off containers of a Compose service on a host. Each runs one command, prints one JSON document and is removed."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ppmkit.errors import ContainerFailed, DatabaseDamaged, Inconclusive
from ppmkit.local import bounded
from ppmkit.steward.exit_codes import DAMAGED, INCONCLUSIVE

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.host.host import Host

_KILLED = 137  # 128 + SIGKILL
_STEWARD_ERRORS = {DAMAGED: DatabaseDamaged, INCONCLUSIVE: Inconclusive}
# Compose looks for the secret files on this machine, but they are on the host.
_COMPOSE_WARNING = re.compile(r'time="[^"]*" level=warning msg="secret file')
_LINES = 20
_POLL = 0.2
_START_SECONDS = 300.0


def ask(
    host: Host,
    compose: DockerClient,
    service: str,
    command: Sequence[str],
    *,
    timeout: float,
    variables: Mapping[str, str] | None = None,
    input: str | None = None,
) -> Any:
    """Run a command in a container of the service, with ``input`` on its stdin; return the JSON that it prints.

    Raises ContainerFailed with the last lines of its output if it fails, and after ``timeout`` seconds.
    """
    what = f"`{' '.join(command)}` of {service}"
    try:
        # Not python-on-whales' own `compose.run`: it has no deadline and discards stderr.
        result = bounded.run(
            _argv(compose, service, command, variables, "--rm", "-T"), input=input or "", timeout=timeout
        )
    except subprocess.TimeoutExpired as slow:
        raise ContainerFailed(
            f"{host.name}: {what} did not end within {timeout:g} s",
            host=host.name,
            next="Raise upgrade.migrate_timeout, or find out why it takes so long",
        ) from slow
    if result.returncode == 0:
        try:
            return json.loads(result.stdout)
        except ValueError as error:
            seen = last_lines(result.stdout) or "no output"
            raise ContainerFailed(f"{host.name}: {what} printed no JSON", host=host.name, seen=seen) from error
    raise failure(host.name, service, what, result.returncode, result.stderr or result.stdout)


def failure(host: str, service: str, what: str, status: int, output: str) -> ContainerFailed:
    """Given the exit status and output of a one-off container, return the matching error."""
    killed = status == _KILLED
    kind = service.partition("-")[0]
    error = _STEWARD_ERRORS.get(status, ContainerFailed) if service == "steward" else ContainerFailed
    return error(
        f"{host}: {what} ended with status {status}",
        host=host,
        seen="it was killed, most likely because it exceeded its memory limit" if killed else last_lines(output),
        next=f"Raise services.{kind}.memory" if killed else None,
    )


def last_lines(output: str) -> str:
    """Return the end of a container's output, without Compose's own warnings."""
    lines = [line for line in output.strip().splitlines() if not _COMPOSE_WARNING.match(line)]
    return "\n".join(lines[-_LINES:])


def start_waiting(host: Host, compose: DockerClient, service: str, name: str, command: Sequence[str]) -> None:
    """Start a container that loads its code and then waits for SIGUSR1. A container with the same name is replaced."""
    remove(host, name)
    result = bounded.run(_argv(compose, service, command, None, "--detach", "--name", name), timeout=_START_SECONDS)
    if result.returncode != 0:
        raise failure(host.name, service, f"`{' '.join(command)}`", result.returncode, result.stderr)


def await_waiting(host: Host, *names: str) -> None:
    """Block until all of these containers wait. Raises ContainerFailed if one exits or takes too long."""
    seconds = host.environment.upgrade.migrate_timeout.total_seconds()  # a container may read the whole database first
    deadline = time.monotonic() + seconds
    while late := [name for name in names if not waits(host, name)]:
        if time.monotonic() > deadline:
            raise ContainerFailed(f"{host.name}: {', '.join(late)} were not ready within {seconds:g} s")
        host.rest(_POLL)


def waits(host: Host, name: str) -> bool:
    """Return whether the container has printed that it waits. Raises ContainerFailed if it has exited."""
    from python_on_whales.exceptions import NoSuchContainer

    try:
        state = host.docker.container.inspect(name).state
    except NoSuchContainer:
        return False
    logs = str(host.docker.container.logs(name))
    if not state.running:
        raise failure(host.name, name, name, state.exit_code or 0, logs)
    return any(line == "waiting" for line in logs.splitlines())


def remove(host: Host, *names: str) -> None:
    """Remove containers, even running ones. Missing containers are ignored."""
    for name in names:
        host.run(["docker", "rm", "--force", "--volumes", name], check=False)


def _argv(
    compose: DockerClient,
    service: str,
    command: Sequence[str],
    variables: Mapping[str, str] | None,
    *options: str,
) -> list[str]:
    """Return the argv of `docker compose run`."""
    run = [*compose.compose.docker_compose_cmd, "run", "--no-deps", "--quiet-pull", *options]
    environment = [part for key, value in (variables or {}).items() for part in ("--env", f"{key}={value}")]
    return [str(part) for part in [*run, *environment, service, *command]]
