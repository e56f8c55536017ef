"""`ppmctl logs` and `exec`: container logs, and commands in a running container."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppmkit.errors import UsageError
from ppmkit.host.host import Host
from ppmkit.orchestrator.stack import Found, Stack, inspect
from ppmkit.redact import visible

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

_LINE = 1 << 16
"""Maximum bytes of a log line that are printed at once."""


def _containers(stack: Stack, service: str) -> list[Found]:
    """Given `api`, `api-blue`, … return its containers; a name without a color means the live one."""
    role, _, color = service.rpartition("-")
    exact = [c for c in stack.containers if c.role == role and c.color == color]
    containers = exact or [c for c in stack.containers if c.role == service and c.color in (None, stack.live)]
    if containers:
        return containers
    roles = sorted({c.role for c in stack.containers})
    raise UsageError(
        f"there is no service {service}",
        next=f"Services: {', '.join(roles)}" if roles else "Nothing is deployed",
    )


def logs(environment: Environment, address: HostAddress, service: str | None, *, tail: int, follow: bool) -> int:
    """Print the logs of a service (or of all that run), each line with its container; return an exit code."""
    with Host.connect(environment, address) as host:
        stack = inspect(host)
        containers = _containers(stack, service) if service else [c for c in stack.containers if c.running]
        docker = ["docker", "-H", f"unix://{host.docker_socket}", "logs", "--tail", str(tail)]
        flags = ["--follow"] if follow else []
        followers = [
            subprocess.Popen([*docker, *flags, container.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for container in containers
        ]
        try:
            _merge(followers, [container.name for container in containers])
        finally:
            for follower in followers:
                follower.kill()
                follower.wait()
    return 0


def _merge(followers: Sequence[subprocess.Popen[bytes]], names: Sequence[str]) -> None:
    """Copy their output, line by line. On a terminal, control characters are made visible."""
    from threading import Lock, Thread

    writing, escape = Lock(), visible if sys.stdout.isatty() else str

    def copy(follower: subprocess.Popen[bytes], name: str) -> None:
        assert follower.stdout is not None
        with follower.stdout:
            while line := follower.stdout.readline(_LINE):
                text = escape(f"{name}  {line.decode(errors='replace')}".removesuffix("\n"))
                with writing:
                    sys.stdout.write(f"{text}\n")
                    sys.stdout.flush()

    threads = [Thread(target=copy, args=pair, daemon=True) for pair in zip(followers, names, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def execute(environment: Environment, address: HostAddress, service: str, command: Sequence[str]) -> int:
    """Run a command in a running container of a service, on this terminal; return its exit code."""
    with Host.connect(environment, address) as host:
        container = _running(host, service)
        tty = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        argv = ["docker", "-H", f"unix://{host.docker_socket}", "exec", "-i", *tty, container.id, *command]
        return subprocess.run(argv, check=False).returncode


def ask(environment: Environment, address: HostAddress, service: str, command: Sequence[str]) -> str:
    """Run a command in a running container of a service; return its output."""
    with Host.connect(environment, address) as host:
        return str(host.docker.execute(_running(host, service).id, list(command)))


def _running(host: Host, service: str) -> Found:
    """Return a running container of a service. Raises UsageError."""
    for container in _containers(inspect(host), service):
        if container.running:
            return container
    raise UsageError(f"{service} is not running on {host.name}", next=f"ppmctl status -e {host.environment.name}")
