"""Build OpenSSH's command line, and turn its failures into errors. Pure."""

from __future__ import annotations

from ppmkit.config.environment import Environment, HostAddress
from ppmkit.config.file import local_path
from ppmkit.errors import HostError, HostKeyChanged, HostUnreachable


def options(environment: Environment, address: HostAddress) -> list[str]:
    """Return OpenSSH's options for a host: strict host keys, no prompts, dead connections detected."""
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
    # For port 22, ~/.ssh/config decides: there the address may be an alias with its own port.
    return flags if address.port == 22 else [*flags, "-p", str(address.port)]


def option(name: str, value: str) -> list[str]:
    """Return the arguments that give OpenSSH an option with this value, which may be a path with spaces.

    OpenSSH parses the value as a line of ssh_config(5) and expands tokens such as ``%h`` in it.
    """
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return ["-o", f"{name}={value}" if value.isalnum() else f'{name}="{text}"']


def silent(name: str, destination: str, seconds: float) -> HostUnreachable:
    """Return the error for a host that accepted the connection but printed nothing for this long."""
    return HostUnreachable(
        f"{name}: {destination} did not start a shell within {seconds:g} s",
        host=name,
        seen="ssh did not fail: the host accepted the connection and then printed nothing",
        next=f"ssh {destination} true; common causes of a hang: a network home directory, PAM, a full disk",
    )


def why_no_connection(environment: Environment, name: str, destination: str, output: str) -> HostError:
    """Given ssh's output before it gave up, return the matching error."""
    if "IDENTIFICATION HAS CHANGED" in output or "Host key verification failed" in output:
        return HostKeyChanged(
            f"{name}: the host's key is not the one in known_hosts; nothing was sent to it",
            host=name,
            seen=output,
            next="Compare the fingerprint with the host's console; replace it in known_hosts only if it matches",
        )
    return HostUnreachable(
        f"{name}: no SSH connection to {destination}",
        host=name,
        seen=output or "ssh exited without any output",
        next=f"ssh {destination}; then ppmctl doctor -e {environment.name}",
    )
