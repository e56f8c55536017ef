"""Base requirements of every host: a supported distribution, CA certificates, a correct clock."""

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

from deploy.tasks.command import Script
from deploy.tasks.connection import current_environment
from deploy.tasks.packages import INSTALL_TIMEOUT, install, packages

OLDEST = {"debian": 12, "ubuntu": 22}
"""The oldest release of each distribution that is known to work."""


class MachineFacts(TypedDict):
    """Properties of a machine."""

    container: bool
    """Whether it is a container, which shares the kernel and clock of its machine."""
    apparmor: bool
    """Whether the kernel enforces AppArmor: then Docker needs its parser."""
    keeps_time: bool
    """Whether a time service runs."""


class Machine(FactBase[MachineFacts]):
    """Facts of the machine, in one round trip."""

    def command(self) -> str:
        """Return the command that prints a word for each property that holds."""
        return """
systemd-detect-virt --quiet --container && echo container
grep -qs Y /sys/module/apparmor/parameters/enabled && echo apparmor
systemctl is-active systemd-timesyncd chrony chronyd ntp ntpsec ntpd openntpd | grep -qx active && echo keeps_time
true
"""

    def process(self, output: list[str]) -> MachineFacts:
        """Given the printed words, return the properties."""
        return {
            "container": "container" in output,
            "apparmor": "apparmor" in output,
            "keeps_time": "keeps_time" in output,
        }

    @staticmethod
    def default() -> MachineFacts:
        """Return the properties of an unknown machine."""
        return {"container": False, "apparmor": False, "keeps_time": False}


def distribution() -> tuple[str, int, str]:
    """Return the id, the major version and the code name of the host's distribution: ("debian", 13, "trixie").

    Raises DeployError if provisioning does not support it.
    """
    release = host.get_fact(LinuxDistribution)["release_meta"]
    name, version = release.get("ID", "unknown"), release.get("VERSION_ID", "")
    major = int(version.split(".")[0]) if version else 0
    if major < OLDEST.get(name, 1 << 31):
        raise DeployError(
            f"{release.get('PRETTY_NAME', name)} is not supported; provisioning supports Debian 12 and 13, and Ubuntu "
            "22.04 and newer. On other systems, set up Docker, the deploy user and its directory by hand"
        )
    return name, major, release.get("VERSION_CODENAME", "")


@operation()
def time_sync() -> Generator[StringCommand, None, None]:
    """Install and start chrony, unless a time service runs or the host is a container without its own clock."""
    machine = host.get_fact(Machine)
    if machine["keeps_time"] or machine["container"]:
        host.noop("a time service is running, or this is a container, which uses its machine's clock")
        return
    yield from install(["chrony"])
    yield Script("systemctl enable --now chrony", summary="systemctl enable --now chrony")


@deploy("Base")
def base() -> None:
    """Install the base packages. Raises DeployError on an unsupported distribution."""
    distribution()
    # iproute2 provides `ss`, with which preflight and doctor list listening ports.
    needed = ["ca-certificates", "iproute2"]
    if host.get_fact(Machine)["apparmor"]:
        needed.append("apparmor")
    packages(name="Packages", names=needed, _timeout=INSTALL_TIMEOUT)
    if current_environment().provision.time_sync:
        time_sync(name="Time synchronisation", _timeout=INSTALL_TIMEOUT)
