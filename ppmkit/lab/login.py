"""Log in to a lab's hosts: wait for sshd, and read each host's key before the first connection."""

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
    """Wait until every started host accepts a login, and record the hosts' keys in the lab's known_hosts.

    Raises EngineError with systemd's state if a host is not ready in time.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    with Pool() as pool:
        keys = pool.map(lambda host: _host_key(docker, host, deadline), lab.hosts)
        lines = [f"[127.0.0.1]:{host.ssh_port} {key}\n" for host, key in zip(lab.hosts, keys, strict=True)]
        replace(lab.known_hosts_file, "".join(lines))
        pool.map(lambda host: _wait_for_login(docker, lab, host, deadline), lab.hosts)


def ssh_command(lab: Lab, host: LabHost) -> list[str]:
    """Return the argv that logs in to a host of the lab as root, with only the lab's key and known hosts."""
    options = {
        "IdentityFile": str(lab.identity_file),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(lab.known_hosts_file),
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "5",
        "LogLevel": "ERROR",
    }
    flags = [part for key, value in options.items() for part in option(key, value)]
    # -F: settings for 127.0.0.1 in ~/.ssh/config must not affect a lab.
    return ["ssh", "-F", os.devnull, *flags, "-p", str(host.ssh_port), "root@127.0.0.1"]


def answers(host: LabHost) -> bool:
    """Return whether sshd on the host sends its banner. The engine's proxy accepts connections even without sshd."""
    try:
        with socket.create_connection(("127.0.0.1", host.ssh_port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _host_key(docker: DockerClient, host: LabHost, deadline: float) -> str:
    """Return the host's public key from inside the container, so that it cannot be spoofed on the network."""
    command = [*docker.client_config.docker_cmd, "exec", host.container, "cat", _HOST_KEY]
    key = _until(deadline, lambda: output(command))
    return " ".join(key.split()[:2]) if key else _never_booted(docker, host)


def _wait_for_login(docker: DockerClient, lab: Lab, host: LabHost, deadline: float) -> None:
    command = [*ssh_command(lab, host), "echo", "in"]
    if not _until(deadline, lambda: answers(host) and output(command)):
        _never_booted(docker, host)


def _until(deadline: float, condition: Callable[[], str | bool | None]) -> str:
    """Poll five times a second; return the first true result, or "" at the deadline."""
    while not (answer := condition()):
        if time.monotonic() > deadline:
            return ""
        time.sleep(0.2)
    return str(answer)


def output(command: list[str]) -> str:
    """Return the command's output, or "" if it fails or takes too long."""
    try:
        result = bounded.run(command, timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return ""
    return result.stdout if result.returncode == 0 else ""


def _never_booted(docker: DockerClient, host: LabHost) -> NoReturn:
    command = [*docker.client_config.docker_cmd, "exec", host.container, "systemctl", "--no-pager"]
    raise EngineError(
        f"the lab host {host.name} accepted no login within {_BOOT_SECONDS:.0f} s",
        step="lab",
        host=host.name,
        seen=output([*command, "--failed"]) or output([*command, "list-jobs"]) or "systemd does not answer",
        next=f"docker logs {host.container}; docker exec {host.container} journalctl -b",
    )
