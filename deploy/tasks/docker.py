"""Install the Docker engine and Compose, and let the deploy user use them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import PurePosixPath

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.facts.files import FileContents
from pyinfra.operations import systemd

from deploy.tasks import base, daemon
from deploy.tasks.command import Script
from deploy.tasks.connection import current_environment
from deploy.tasks.packages import INSTALL_TIMEOUT, Installed, packages
from deploy.tasks.ssh import Account

_DOCKERS_OWN = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin")
_ARCHIVE = "https://download.docker.com/linux"
_KEY = "/etc/apt/keyrings/docker.asc"
_SOURCES = "/etc/apt/sources.list.d/docker.sources"


def engine_packages(name: str, major: int) -> tuple[str, ...]:
    """Given a distribution's id and major version, return its packages for the engine and Compose v2."""
    if name == "ubuntu":
        return ("docker.io", "docker-compose-v2")
    if major < 13:
        return ("docker.io",)
    return ("docker.io", "docker-cli", "docker-compose")


def _engine(name: str, major: int, *, own: bool) -> Sequence[str]:
    """Return the packages to install. An engine from another source stays: replacing it would stop every container."""
    distributions = engine_packages(name, major)
    other = distributions[0] if own else _DOCKERS_OWN[0]
    if host.get_fact(Installed, packages=[other]):
        host.log(f"note: {other} is installed and stays")
        return []
    if not own and (name, major) == ("debian", 12):
        host.log("note: Debian 12 has no Compose v2; the engine is enough, because ppmctl uses its own Compose")
    return _DOCKERS_OWN if own else distributions


def _sources(name: str, codename: str) -> str:
    return f"""Types: deb
URIs: {_ARCHIVE}/{name}
Suites: {codename}
Components: stable
Signed-By: {_KEY}
"""


@operation()
def repository(distribution: str, codename: str) -> Generator[StringCommand, None, None]:
    """Add Docker's own repository, as described in https://docs.docker.com/engine/install/debian/."""
    sources = _sources(distribution, codename)
    if host.get_fact(FileContents, path=_SOURCES) != sources.splitlines():
        script = f"""
set -e
umask 022
mkdir -p {PurePosixPath(_KEY).parent}
curl -fsSL --proto =https -o {_KEY}.new {_ARCHIVE}/{distribution}/gpg
mv {_KEY}.new {_KEY}
cat > {_SOURCES}.new
mv {_SOURCES}.new {_SOURCES}
"""
        yield Script(
            script, summary=f"add {_ARCHIVE}/{distribution} {codename}, and its key, to apt's sources", stdin=sources
        )


@operation()
def member(user: str) -> Generator[StringCommand, None, None]:
    """Add the user to the docker group. Its members have root's power, so this user's key is as powerful as root's."""
    account = host.get_fact(Account, user=user)
    if account is None or "docker" not in account.groups:
        yield StringCommand("usermod -a -G docker", QuoteString(user))


@deploy("Docker")
def docker() -> None:
    """Install and start Docker, and let the deploy user use it."""
    environment = current_environment()
    name, major, codename = base.distribution()
    own = environment.provision.docker == "docker"
    if own:
        packages(name="Download tool", names=["curl"], _timeout=INSTALL_TIMEOUT)
        repository(name="Docker's repository", distribution=name, codename=codename)
    packages(
        name="Docker engine and Compose",
        names=_engine(name, major, own=own),
        _timeout=INSTALL_TIMEOUT,
    )
    daemon.settings(name="Docker settings")
    systemd.service(name="Docker service", service="docker", running=True, enabled=True)
    if environment.ssh.user != "root":
        member(name=f"{environment.ssh.user} in the group docker", user=environment.ssh.user)
