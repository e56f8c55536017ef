"""How OpenSSH is called, and what it means when it does not connect. Pure."""

from __future__ import annotations

from ppmkit.config.environment import Environment, HostAddress
from ppmkit.config.file import local_path
from ppmkit.errors import HostError, HostKeyChanged, HostUnreachable


def options(environment: Environment, address: HostAddress) -> list[str]:
    """Return OpenSSH's options for a host: strict host keys, no questions, dead connections noticed."""
    ssh = environment.ssh
    chosen = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(round(ssh.connect_timeout.total_seconds())),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ExitOnForwardFailure": "yes",
        "LogLevel": "ERROR",
    }
    if ssh.known_hosts_file:
        chosen["UserKnownHostsFile"] = str(local_path(ssh.known_hosts_file))
    if ssh.identity_file:
        chosen |= {"IdentityFile": str(local_path(ssh.identity_file)), "IdentitiesOnly": "yes"}
    flags = [part for key, value in chosen.items() for part in option(key, value)]
    # 22 is left to ~/.ssh/config, where the address may be an alias with a port of its own.
    return flags if address.port == 22 else [*flags, "-p", str(address.port)]


def option(name: str, value: str) -> list[str]:
    """Return the arguments by which OpenSSH takes an option with this value, be it a path with blanks in it.

    OpenSSH reads them as a line of ssh_config(5), and puts a file's name in the place of tokens like ``%h``.
    """
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return ["-o", f"{name}={value}" if value.isalnum() else f'{name}="{text}"']


def silent(name: str, destination: str, seconds: float) -> HostUnreachable:
    """Return the error for a host that said nothing for so long after it was called."""
    return HostUnreachable(
        f"{name}: {destination} did not start a shell within {seconds:g} s",
        host=name,
        seen="ssh did not fail: the host accepted the connection and then said nothing",
        next=f"ssh {destination} true; what often hangs there: a home directory on a network, PAM, a full disk",
    )


def why_no_connection(environment: Environment, name: str, destination: str, said: str) -> HostError:
    """Given what ssh said before it gave up, return the error for it."""
    if "IDENTIFICATION HAS CHANGED" in said or "Host key verification failed" in said:
        return HostKeyChanged(
            f"{name}: the host's key is not the one in known_hosts; nothing was sent to it",
            host=name,
            seen=said,
            next="Compare the fingerprint with the host's console; only if it is right, renew it in known_hosts",
        )
    return HostUnreachable(
        f"{name}: no SSH connection to {destination}",
        host=name,
        seen=said or "ssh ended without a word",
        next=f"ssh {destination}; then ppmctl doctor -e {environment.name}",
    )
