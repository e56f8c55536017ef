"""Log in on a lab's hosts: wait for sshd, and know each host's key before the first connection."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from ppmkit.errors import EngineError
from ppmkit.host.ssh import option
from ppmkit.lab.model import Lab, LabHost, replace
from ppmkit.local import bounded
from ppmkit.local.pool import Pool

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_BOOT_SECONDS = 90.0
_ANSWER_SECONDS = 30.0
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


def settle(docker: DockerClient, lab: Lab) -> None:
    """Wait until every started host takes a login, and note the hosts' keys in its known_hosts.

    Raises EngineError when a host is not there in time; it says what systemd says.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    with Pool() as pool:
        keys = pool.map(lambda host: _host_key(docker, host, deadline), lab.hosts)
        lines = [f"[127.0.0.1]:{host.ssh_port} {key}\n" for host, key in zip(lab.hosts, keys, strict=True)]
        replace(lab.known_hosts_file, "".join(lines))
        pool.map(lambda host: _wait_for_login(docker, lab, host, deadline), lab.hosts)


def ssh_command(lab: Lab, host: LabHost) -> list[str]:
    """Return the argv that logs in on a host of the lab as root, with the lab's key and known hosts only."""
    options = {
        "IdentityFile": str(lab.identity_file),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(lab.known_hosts_file),
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "5",
        "LogLevel": "ERROR",
    }
    flags = [part for key, value in options.items() for part in option(key, value)]
    # -F: what ~/.ssh/config says about 127.0.0.1 is not meant for a lab.
    return ["ssh", "-F", os.devnull, *flags, "-p", str(host.ssh_port), "root@127.0.0.1"]


def answers(host: LabHost) -> bool:
    """Return whether sshd on the host greets. The engine's proxy accepts a connection before anything listens."""
    try:
        with socket.create_connection(("127.0.0.1", host.ssh_port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _host_key(docker: DockerClient, host: LabHost, deadline: float) -> str:
    """Return the host's public key as the container has it, so that no one in between can give another."""
    command = [*docker.client_config.docker_cmd, "exec", host.container, "cat", _HOST_KEY]
    key = _until(deadline, lambda: output(command))
    return " ".join(key.split()[:2]) if key else _never_booted(docker, host)


def _wait_for_login(docker: DockerClient, lab: Lab, host: LabHost, deadline: float) -> None:
    command = [*ssh_command(lab, host), "echo", "in"]
    if not _until(deadline, lambda: answers(host) and output(command)):
        _never_booted(docker, host)


def _until(deadline: float, condition: Callable[[], str | bool | None]) -> str:
    """Ask five times a second; return the first true answer, or nothing at the deadline."""
    while not (answer := condition()):
        if time.monotonic() > deadline:
            return ""
        time.sleep(0.2)
    return str(answer)


def output(command: list[str]) -> str:
    """Return what the command prints, nothing when it fails or takes too long."""
    try:
        done = bounded.run(command, timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _never_booted(docker: DockerClient, host: LabHost) -> NoReturn:
    command = [*docker.client_config.docker_cmd, "exec", host.container, "systemctl", "--no-pager"]
    raise EngineError(
        f"the lab host {host.name} took no login within {_BOOT_SECONDS:.0f} s",
        step="lab",
        host=host.name,
        seen=output([*command, "--failed"]) or output([*command, "list-jobs"]) or "systemd does not answer",
        next=f"docker logs {host.container}; docker exec {host.container} journalctl -b",
    )
