"""Looking into a running stack, and taking it away: releases, logs, exec, down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppmkit.errors import UsageError
from ppmkit.host.host import Host
from ppmkit.images import sbom
from ppmkit.operation import journal
from ppmkit.operation.hosts import read_only
from ppmkit.orchestrator.stack import Found, Stack, look, records
from ppmkit.proxy import settings
from ppmkit.redact import visible
from ppmkit.release.model import Record
from ppmkit.steward import places

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.operation.journal import Past

# Backups, and what is known of them, outlive the application, and belong to a user whose directory nobody else enters.
_KEPT = "|".join(f"*/{name}/" for name in places.OWN)
_DOWN_SECONDS = 600.0
_LINE = 1 << 16
"""Bytes of a line of logs that are printed at once."""
_PURGE = f'for in in "$1"/*/; do case $in in {_KEPT}) ;; *) find "$in" -mindepth 1 -delete ;; esac; done'


def pick_host(environment: Environment, name: str | None) -> HostAddress:
    """Return the host of that name, or the first one. Raises UsageError for a name that is not there."""
    for address in environment.hosts:
        if name in (None, address.name):
            return address
    names = ", ".join(address.name for address in environment.hosts)
    raise UsageError(f"there is no host {name} in {environment.name}", next=f"Its hosts: {names}")


def only(environment: Environment, name: str | None) -> Environment:
    """Return the environment with no other host than the named one, if one is named. Raises UsageError."""
    return environment.model_copy(update={"hosts": (pick_host(environment, name),)}) if name else environment


def releases(environment: Environment, address: HostAddress) -> tuple[list[Record], Stack]:
    """Return the records on a host, newest first, and what runs there."""
    with read_only(environment, address) as host:
        return records(host), look(host)


def release(
    environment: Environment, address: HostAddress, name: str | None, *, ask: bool = False
) -> tuple[Record, str | None]:
    """Return the record of a release (the newest without a name), and what it is made of, if a list lies beside it.

    With ``ask`` its images are asked where there is none. Raises UsageError, and BuildError when they are gone.
    """
    with read_only(environment, address) as host:
        found = [record for record in records(host) if name in (None, record.id)]
        if not found:
            what = f"no release {name}" if name else "no release yet"
            raise UsageError(f"{host.name} has {what}", next=f"ppmctl releases -e {environment.name}")
        bill = host.read(environment.directory / "releases" / found[0].id / sbom.FILE)
        return found[0], sbom.on_host(host, found[0].release) if bill is None and ask else bill


def history(environment: Environment, address: HostAddress) -> list[Past]:
    """Return the operations in the host's journal, newest first."""
    with read_only(environment, address) as host:
        return journal.history(journal.lines(host))


def _containers(stack: Stack, service: str) -> list[Found]:
    """Given `api`, `api-blue`, … return its containers; a name without a colour means the live one."""
    role, _, color = service.rpartition("-")
    exact = [c for c in stack.containers if c.role == role and c.color == color]
    found = exact or [c for c in stack.containers if c.role == service and c.color in (None, stack.live)]
    if found:
        return found
    roles = sorted({c.role for c in stack.containers})
    raise UsageError(
        f"there is no service {service}",
        next=f"Services: {', '.join(roles)}" if roles else "Nothing is deployed",
    )


def logs(environment: Environment, address: HostAddress, service: str | None, *, tail: int, follow: bool) -> int:
    """Print the logs of a service (or of all that run), each line with its container; return an exit code."""
    with Host.connect(environment, address) as host:
        stack = look(host)
        found = _containers(stack, service) if service else [c for c in stack.containers if c.running]
        docker = ["docker", "-H", f"unix://{host.docker_socket}", "logs", "--tail", str(tail)]
        flags = ["--follow"] if follow else []
        followers = [
            subprocess.Popen([*docker, *flags, container.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for container in found
        ]
        try:
            _merge(followers, [container.name for container in found])
        finally:
            for follower in followers:
                follower.kill()
                follower.wait()
    return 0


def _merge(followers: Sequence[subprocess.Popen[bytes]], names: Sequence[str]) -> None:
    """Copy what they say, line by line. To a terminal, no control character goes as it is."""
    from threading import Lock, Thread

    writing, shown = Lock(), visible if sys.stdout.isatty() else str

    def copy(follower: subprocess.Popen[bytes], name: str) -> None:
        assert follower.stdout is not None
        with follower.stdout:
            while line := follower.stdout.readline(_LINE):
                text = shown(f"{name}  {line.decode(errors='replace')}".removesuffix("\n"))
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
    """Run a command in a running container of a service; return what it prints."""
    with Host.connect(environment, address) as host:
        return str(host.docker.execute(_running(host, service).id, list(command)))


def _running(host: Host, service: str) -> Found:
    """Return a running container of a service. Raises UsageError."""
    for container in _containers(look(host), service):
        if container.running:
            return container
    raise UsageError(f"{service} does not run on {host.name}", next=f"ppmctl status -e {host.environment.name}")


def down(environment: Environment, address: HostAddress, *, purge: bool) -> None:
    """Take the stack off a host. The data, the secrets and the releases stay, unless ``purge`` is on."""
    with Host.connect(environment, address) as host, host.within(_DOWN_SECONDS):
        label = f"com.docker.compose.project={environment.project}"
        if found := [c.id for c in look(host).containers]:
            host.docker.container.stop(found)
        if left := host.docker.container.list(all=True, filters=[("label", label)]):  # also of a hold
            host.docker.container.remove(left, force=True)
        if networks := host.docker.network.list(filters=[("label", label)]):
            host.docker.network.remove([*networks])
        directory = environment.directory
        of_proxy = (directory / "traefik/dynamic/routes.yaml", directory / settings.IN_FORCE)
        host.run(["rm", "-rf", str(directory / "current"), *map(str, of_proxy)])
        if purge:
            if volumes := host.docker.volume.list(filters={"label": label}):
                host.docker.volume.remove([*volumes])
            host.run(["sh", "-c", _PURGE, "sh", str(directory)])
