"""Debian packages: install what is missing, with package lists that are not older than a day."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.tasks.command import Said

INSTALL_TIMEOUT = 900
"""Seconds: downloads over a slow line, and waiting for the host's own unattended upgrade."""

# The output goes to a file, not to us: so apt-get ends its work even when the connection is lost, and a package is
# never left half installed. `lists/partial` changes with every `apt-get update`. An interrupted dpkg, lists that are
# out of date in spite of their age, or a repository that was added just now: all are mended by the second try.
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
    """Which of the packages are installed."""

    default = set

    def command(self, packages: Sequence[str]) -> str:
        """Return the command that prints one line for every package that dpkg knows."""
        return f"dpkg-query -W -f '${{Package}} ${{db:Status-Status}}\\n' {shlex.join(packages)} 2>/dev/null || true"

    def process(self, output: list[str]) -> set[str]:
        """Given dpkg's lines, return the names of the installed ones."""
        return {line.split()[0] for line in output if line.endswith(" installed")}


def missing(packages: Sequence[str]) -> list[str]:
    """Return those that the host lacks."""
    installed = host.get_fact(Installed, packages=packages) if packages else set()
    return [package for package in packages if package not in installed]


def install(packages: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Yield what installs the packages that are missing; nothing when none is."""
    if lacking := missing(packages):
        yield Said(f"set -- {shlex.join(lacking)}\n{_INSTALL}", says=f"apt-get install {' '.join(lacking)}")


@operation()
def packages(names: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Install the packages that are missing."""
    yield from install(names)
