"""Collect doctor's facts on a host: one script, one line per fact."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppmkit.database import journal_mode
from ppmkit.host.host import Host
from ppmkit.provision.daemon_json import PATH
from ppmkit.provision.host_files import FIREWALL, HostFile, host_files
from ppmkit.proxy import acme

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment

# One line per fact, as in ppmkit/doctor/checks.py. `provision --check` covers what only root can see.
_HARDENING = """
systemd-detect-virt --quiet --container && echo "container yes"
awk '/^SwapTotal:/ {print "swap", $2}' /proc/meminfo
systemctl is-active systemd-timesyncd chrony chronyd ntp ntpsec ntpd openntpd | grep -qx active && echo "time yes"
systemctl is-active -q auditd && echo "audit yes"
systemctl is-enabled -q apt-daily-upgrade.timer && echo "updates yes"
"""


def readable(environment: Environment) -> list[HostFile]:
    """Return the hardening files, without those that only root can read."""
    hidden = ("/etc/sudoers.d/", "/etc/audit/")
    return [file for file in host_files(environment) if not file.path.startswith(hidden)]


# One line per fact: name and value. A missing fact prints nothing.
_FACTS = """
echo "groups $(id -nG)"
echo "engine $(docker version --format '{{.Server.Version}}' 2>/dev/null)"
test -e "$2" && echo "daemon $(tr -d '\\n' < "$2")"
df -PB1 "$1" /var/lib/docker 2>/dev/null | awk 'NR > 1 {print "free", $4, $6}'
awk '/^MemAvailable:/ {print "memory", $2}' /proc/meminfo
test -w "$1" && echo "writable yes"
ip -6 -o address show scope global | awk '{sub("/.*", "", $4); print "ipv6", $4}'
ss -ltnH | awk '{n = split($4, a, ":"); print "listening", a[n]}'
docker ps --filter "label=com.docker.compose.project=$3" --format 'ours {{.Ports}}' 2>/dev/null
# The rules themselves are shown to root alone.
systemctl is-active -q ppm-firewall &&
  { ! sudo -n true 2>/dev/null || sudo -n nft list table inet ppm > /dev/null 2>&1; } &&
  echo "firewall $(sed -n 's/^ *tcp dport \\({.*}\\) accept$/\\1/p' "$4" | tr -d '\\n')"
shift 4
for file; do test -r "$file" && echo "file $file $(sha256sum < "$file" | cut -d ' ' -f 1)"; done
true
"""


@dataclass(frozen=True)
class Readings:
    """The facts of a host."""

    host: str
    lines: tuple[tuple[str, str], ...]
    """(name, value) as the host printed them, and DNS records."""
    clock_offset: float
    """Seconds by which its clock is ahead of ours."""
    uncertainty: float
    """Maximum error of the offset, in seconds."""

    def all(self, name: str) -> list[str]:
        """Return all values of a fact."""
        return [value for fact, value in self.lines if fact == name]

    def one(self, name: str) -> str:
        """Return the value of a fact, or ""."""
        return next(iter(self.all(name)), "")


Finding = tuple[str, bool, str, str, str]
"""Name, ok, found, wanted, fix; an empty fix means provisioning."""


def read(host: Host) -> Readings:
    """Run the script on a host; return what it printed, and how its clock differs from ours."""
    """Return the facts of a host."""
    environment = host.environment
    files = [file.path for file in readable(environment)]
    arguments = [str(environment.directory), PATH, environment.project, FIREWALL, *files]
    argv = ["sh", "-c", _HARDENING + _FACTS, "sh", *arguments]
    printed = [line.partition(" ") for line in host.run(argv).stdout.splitlines()]
    printed.append(("journal", " ", journal_mode.read(host) or ""))
    if environment.tls:
        printed += [("aaaa", " ", address) for address in acme.ipv6_addresses(environment.domain)]
    before = time.time()
    clock = float(host.run(["date", "+%s.%N"]).stdout)
    after = time.time()
    return Readings(
        host=host.name,
        lines=tuple((name, value.strip()) for name, _, value in printed),
        clock_offset=clock - (before + after) / 2,
        uncertainty=(after - before) / 2,
    )
