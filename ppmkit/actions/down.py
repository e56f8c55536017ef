"""`ppmctl down`: remove a stack from a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.host import proxy_settings
from ppmkit.host.host import Host
from ppmkit.orchestrator.stack import inspect
from ppmkit.steward import paths

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

# Backups and their status outlive the application; their directories belong to a user and are closed to all others.
_KEPT = "|".join(f"*/{name}/" for name in paths.OWN)

_DOWN_SECONDS = 600.0

_PURGE = f'for in in "$1"/*/; do case $in in {_KEPT}) ;; *) find "$in" -mindepth 1 -delete ;; esac; done'


def remove_stack(environment: Environment, address: HostAddress, *, purge: bool) -> None:
    """Remove the stack from a host. The data, the secrets and the releases stay, unless ``purge`` is on."""
    with Host.connect(environment, address) as host, host.within(_DOWN_SECONDS):
        label = f"com.docker.compose.project={environment.project}"
        if containers := [c.id for c in inspect(host).containers]:
            host.docker.container.stop(containers)
        if left := host.docker.container.list(all=True, filters=[("label", label)]):  # including those of a hold
            host.docker.container.remove(left, force=True)
        if networks := host.docker.network.list(filters=[("label", label)]):
            host.docker.network.remove([*networks])
        directory = environment.directory
        proxy_files = (directory / "traefik/dynamic/routes.yaml", directory / proxy_settings.IN_FORCE)
        host.run(["rm", "-rf", str(directory / "current"), *map(str, proxy_files)])
        if purge:
            if volumes := host.docker.volume.list(filters={"label": label}):
                host.docker.volume.remove([*volumes])
            host.run(["sh", "-c", _PURGE, "sh", str(directory)])
