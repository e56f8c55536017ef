"""Debian packages: install the missing ones, with package lists that are at most a day old."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.tasks.command import Script

INSTALL_TIMEOUT = 900
"""Seconds: enough for downloads over a slow line, and for the host's own unattended upgrade to finish."""

# The output goes to a file on the host, so that apt-get finishes even if the connection is lost, and a package is never
# left half installed. `lists/partial` changes with every `apt-get update`. The second try fixes an interrupted dpkg,
# lists that are outdated in spite of their age, and a repository that was just added.
_INSTALL = """
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
log=$(mktemp /run/ppmctl-apt.XXXXXX) || exit 1
update() { apt-get update -q; }
install() {
    apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}
recent() { test -n "$(find /var/lib/apt/lists/partial -maxdepth 0 -mmin -1440 2>/dev/null)"; }
{
    { recent || update; } && install "$@" || { dpkg --configure -a; update && install "$@"; }
} > "$log" 2>&1 < /dev/null
status=$?
test $status = 0 || tail -n 15 "$log" >&2
rm -f "$log"
exit $status
"""


class Installed(FactBase[set[str]]):
    """The packages that are installed, out of the given ones."""

    default = set

    def command(self, packages: Sequence[str]) -> str:
        """Return the command that prints one line for every package that dpkg knows."""
        return f"dpkg-query -W -f '${{Package}} ${{db:Status-Status}}\\n' {shlex.join(packages)} 2>/dev/null || true"

    def process(self, output: list[str]) -> set[str]:
        """Given dpkg's lines, return the names of the installed packages."""
        return {line.split()[0] for line in output if line.endswith(" installed")}


def missing(packages: Sequence[str]) -> list[str]:
    """Return the packages that the host lacks."""
    installed = host.get_fact(Installed, packages=packages) if packages else set()
    return [package for package in packages if package not in installed]


def install(packages: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Yield the command that installs the missing packages, if any."""
    if lacking := missing(packages):
        yield Script(f"set -- {shlex.join(lacking)}\n{_INSTALL}", summary=f"apt-get install {' '.join(lacking)}")


@operation()
def packages(names: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Install the missing packages."""
    yield from install(names)
