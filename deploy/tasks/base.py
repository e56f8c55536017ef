"""What every host has: a known distribution, certificates, a clock that is right."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypedDict

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.facts.server import LinuxDistribution

from deploy.tasks.command import Said
from deploy.tasks.connection import wanted
from deploy.tasks.packages import INSTALL_TIMEOUT, install, packages

OLDEST = {"debian": 12, "ubuntu": 22}
"""The oldest release of each distribution that is known to work."""


class MachineFacts(TypedDict):
    """What a machine is."""

    container: bool
    """It has its machine's kernel and clock."""
    apparmor: bool
    """The kernel enforces AppArmor: then Docker needs its parser."""
    keeps_time: bool
    """Any time service runs."""


class Machine(FactBase[MachineFacts]):
    """Facts of the machine, in one round trip."""

    def command(self) -> str:
        """Return the command that prints a word for each fact that holds."""
        return """
systemd-detect-virt --quiet --container && echo container
grep -qs Y /sys/module/apparmor/parameters/enabled && echo apparmor
systemctl is-active systemd-timesyncd chrony chronyd ntp ntpsec ntpd openntpd | grep -qx active && echo keeps_time
true
"""

    def process(self, output: list[str]) -> MachineFacts:
        """Given the words that the command printed, return the facts."""
        return {
            "container": "container" in output,
            "apparmor": "apparmor" in output,
            "keeps_time": "keeps_time" in output,
        }

    @staticmethod
    def default() -> MachineFacts:
        """Return the facts of a machine of which nothing is known."""
        return {"container": False, "apparmor": False, "keeps_time": False}


def distribution() -> tuple[str, int, str]:
    """Return the id, the major version and the code name of the host's distribution: ("debian", 13, "trixie").

    Raises DeployError when it is none that provisioning knows.
    """
    found = host.get_fact(LinuxDistribution)["release_meta"]
    name, version = found.get("ID", "unknown"), found.get("VERSION_ID", "")
    major = int(version.split(".")[0]) if version else 0
    if major < OLDEST.get(name, 1 << 31):
        raise DeployError(
            f"{found.get('PRETTY_NAME', name)} is not supported; provisioning knows Debian 12 and 13, and Ubuntu "
            "22.04 and newer. Anywhere else set up Docker, the deploy user and its directory by hand"
        )
    return name, major, found.get("VERSION_CODENAME", "")


@operation()
def time_sync() -> Generator[StringCommand, None, None]:
    """Install and start chrony, unless a time service runs already or the clock is not the host's own."""
    machine = host.get_fact(Machine)
    if machine["keeps_time"] or machine["container"]:
        host.noop("a time service runs, or this is a container, whose clock is its machine's")
        return
    yield from install(["chrony"])
    yield Said("systemctl enable --now chrony", says="systemctl enable --now chrony")


@deploy("Base")
def base() -> None:
    """Make the host a known starting point. Raises DeployError on a distribution that is not supported."""
    distribution()
    # iproute2 has `ss`, by which preflight and doctor see who listens.
    needed = ["ca-certificates", "iproute2"]
    if host.get_fact(Machine)["apparmor"]:
        needed.append("apparmor")
    packages(name="Packages", names=needed, _timeout=INSTALL_TIMEOUT)
    if wanted().provision.time_sync:
        time_sync(name="Time synchronisation", _timeout=INSTALL_TIMEOUT)
