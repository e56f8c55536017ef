"""pyinfra's connection data for an environment's hosts. Pure, except `current_environment`, which queries pyinfra."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pyinfra.context import host

from ppmkit.config.environment import Environment, HostAddress
from ppmkit.config.file import local_path

_COMMAND_SECONDS = 300
"""Default time limit of a command on a host: pyinfra itself would wait forever."""
HostData = tuple[str, dict[str, Any]]


def hosts(environment: Environment, without_root: Collection[str] = ()) -> list[HostData]:
    """Return (name, data) of every host, in the form of a pyinfra inventory.

    On the hosts ``without_root``, where root's login is disabled, the deploy user provisions with sudo.

    The data contain the whole environment, which the tasks read. ``~/.ssh/config`` applies to the address: aliases,
    jump hosts, agents, ports. An unknown host key is rejected.
    """
    shared = {"environment": environment.model_dump(mode="json"), **_login(environment)}
    deployer = {"ssh_user": environment.ssh.user, "_sudo": True}
    return [
        (address.name, _reach(address) | shared | (deployer if address.name in without_root else {}))
        for address in environment.hosts
    ]


def current_environment() -> Environment:
    """Return the environment of the host that pyinfra is working on."""
    return Environment.model_validate(host.data.environment)


def _reach(address: HostAddress) -> dict[str, Any]:
    # For port 22, ~/.ssh/config decides: there the address may be an alias with its own port.
    port = {} if address.port == 22 else {"ssh_port": address.port}
    return {"ssh_hostname": address.address, **port}


def _login(environment: Environment) -> dict[str, Any]:
    ssh = environment.ssh
    seconds = ssh.connect_timeout.total_seconds()
    data: dict[str, Any] = {
        "ssh_user": ssh.provision_user,
        "ssh_strict_host_key_checking": "yes",
        "ssh_paramiko_connect_kwargs": {"timeout": seconds, "banner_timeout": seconds, "auth_timeout": seconds},
        "_sudo": ssh.provision_user != "root",
        "_timeout": _COMMAND_SECONDS,
    }
    if ssh.identity_file:
        data["ssh_key"] = str(local_path(ssh.identity_file))
    if ssh.known_hosts_file:
        data["ssh_known_hosts_file"] = str(local_path(ssh.known_hosts_file))
    return data
