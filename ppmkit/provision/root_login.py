"""Turning root's login off without locking anybody out.

The user that deploys does it, so that one works. A timer of the host takes it back unless that user has logged in
anew by then: a mistake, or ppmctl killed in between, costs minutes and no journey to a console.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.errors import HostError, ProvisionError
from ppmkit.host.host import Host

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

FILE = "/etc/ssh/sshd_config.d/05-ppm-root.conf"
"""Before 10-ppm.conf: of several values sshd takes the first."""
UNDO_SECONDS = 120
_UNIT = "ppm-root-undo"
_ARM = f"""
set -e
systemctl stop {_UNIT}.timer 2>/dev/null || true
systemctl reset-failed {_UNIT}.service 2>/dev/null || true
systemd-run -q --on-active="$1" --timer-property=AccuracySec=1s --unit={_UNIT} \\
  sh -c 'rm -f {FILE}; systemctl reload ssh'
umask 022
printf '%s\\n' '# Written by ppmctl provision.' 'PermitRootLogin no' > {FILE}
sshd -t
systemctl reload ssh
sleep 1  # it starts anew in its own time, and what is to be proven is the new one
"""
_CLOSED = f"sshd -T | grep -qx 'permitrootlogin no' && ! systemctl is-active -q {_UNIT}.timer"


def wanted(environment: Environment) -> bool:
    """Return whether root shall not log in on the hosts of this environment."""
    return not environment.root_login and environment.ssh.user != "root"


def closed(environment: Environment) -> list[str]:
    """Return the hosts on which root's login is off. A lab's never is."""
    if environment.kind == "lab" or environment.ssh.user == "root":
        return []
    return [address.name for address in environment.hosts if _is_closed(environment, address)]


def _is_closed(environment: Environment, address: HostAddress) -> bool:
    """Return whether root's login is off for good, and the user that deploys may do what root may."""
    try:
        with Host.connect(environment, address) as host:
            return host.run(["sudo", "-n", "sh", "-c", _CLOSED], check=False).status == 0
    except HostError:
        return False


def close(environment: Environment, address: HostAddress) -> None:
    """Turn root's login off, as the user that deploys, and see that this one still gets in. Raises ProvisionError."""
    try:
        with Host.connect(environment, address) as host:
            arm(host, UNDO_SECONDS)
        with Host.connect(environment, address) as host:
            host.run(["sudo", "-n", "systemctl", "stop", f"{_UNIT}.timer"])
    except HostError as error:
        raise ProvisionError(
            f"{address.name}: root's login stays on, or is back within {UNDO_SECONDS} s: {error.message}",
            step="provision",
            host=address.name,
            seen=error.seen,
            next=f"ppmctl doctor -e {environment.name}; or leave it on: provision.root_login: true",
        ) from error


def arm(host: Host, seconds: int) -> None:
    """Turn root's login off for so long; stopping the timer makes it last."""
    host.run(["sudo", "-n", "sh", "-c", _ARM, "sh", str(seconds)])
