"""How pyinfra reaches the hosts of an environment. Pure, but for `wanted`, which asks pyinfra where it is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pyinfra.context import host

from ppmkit.config.environment import Environment, HostAddress
from ppmkit.config.file import local_path

_COMMAND_SECONDS = 300
"""What a command on a host may take, unless its task says otherwise: pyinfra itself would wait for ever."""
HostData = tuple[str, dict[str, Any]]


def hosts(environment: Environment, without_root: Collection[str] = ()) -> list[HostData]:
    """Return (name, data) of every host, as an inventory of pyinfra has it.

    On those ``without_root``, where root's login is off, the user that deploys provisions, by sudo.

    The data hold the whole environment, which the tasks read. ``~/.ssh/config`` applies to the address: aliases,
    jump hosts, agents, ports. A host key that is not known is refused.
    """
    shared = {"environment": environment.model_dump(mode="json"), **_login(environment)}
    deployer = {"ssh_user": environment.ssh.user, "_sudo": True}
    return [
        (address.name, _reach(address) | shared | (deployer if address.name in without_root else {}))
        for address in environment.hosts
    ]


def wanted() -> Environment:
    """Return the environment of the host that pyinfra is at."""
    return Environment.model_validate(host.data.environment)


def _reach(address: HostAddress) -> dict[str, Any]:
    # 22 is left to ~/.ssh/config, where the address may be an alias with a port of its own.
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
