"""Disable root's login without a lockout.

The deploy user does it, which proves that its login works. A timer on the host reverts the change unless that user logs
in again in time. So a mistake, or a killed ppmctl, costs minutes but requires no console access.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.errors import HostError, ProvisionError
from ppmkit.host.host import Host

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

FILE = "/etc/ssh/sshd_config.d/05-ppm-root.conf"
"""It sorts before 10-ppm.conf: sshd uses the first of several values."""
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
sleep 1  # sshd reloads in the background, and the next login must reach the reloaded server
"""
_CLOSED = f"sshd -T | grep -qx 'permitrootlogin no' && ! systemctl is-active -q {_UNIT}.timer"


def wanted(environment: Environment) -> bool:
    """Return whether root's login should be disabled on this environment's hosts."""
    return not environment.root_login and environment.ssh.user != "root"


def closed(environment: Environment) -> list[str]:
    """Return the hosts on which root's login is disabled. In a lab it never is."""
    if environment.kind == "lab" or environment.ssh.user == "root":
        return []
    return [address.name for address in environment.hosts if _is_closed(environment, address)]


def _is_closed(environment: Environment, address: HostAddress) -> bool:
    """Return whether root's login is permanently disabled and the deploy user may use sudo."""
    try:
        with Host.connect(environment, address) as host:
            return host.run(["sudo", "-n", "sh", "-c", _CLOSED], check=False).status == 0
    except HostError:
        return False


def close(environment: Environment, address: HostAddress) -> None:
    """Disable root's login as the deploy user, and verify that this user can still log in. Raises ProvisionError."""
    try:
        with Host.connect(environment, address) as host:
            arm(host, UNDO_SECONDS)
        with Host.connect(environment, address) as host:
            host.run(["sudo", "-n", "systemctl", "stop", f"{_UNIT}.timer"])
    except HostError as error:
        raise ProvisionError(
            f"{address.name}: root's login was not disabled, or is restored within {UNDO_SECONDS} s: {error.message}",
            step="provision",
            host=address.name,
            seen=error.seen,
            next=f"ppmctl doctor -e {environment.name}; or leave it enabled: provision.root_login: true",
        ) from error


def arm(host: Host, seconds: int) -> None:
    """Disable root's login for this time; stopping the timer makes it permanent."""
    host.run(["sudo", "-n", "sh", "-c", _ARM, "sh", str(seconds)])
