"""Create the environment's directories."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.operations import files

from deploy.tasks.connection import current_environment
from ppmkit.steward import paths

# The proxy runs as another user and reads its routes from the mounted `dynamic`. `secrets` is closed to other users:
# Docker mounts each file separately, so a container need not enter the directory. Backups contain all data.
DIRECTORIES = {
    "": "755",
    "releases": "755",
    "traefik": "755",
    "traefik/dynamic": "755",
    "secrets": "700",
    paths.BACKUPS.name: "700",
    "history": "755",
    paths.FACTS.name: "755",
    "steward": "755",
}
"""Directories below /srv/ppm/<environment>, with their modes; the deploy user owns them."""


@deploy("ppm")
def ppm() -> None:
    """Create the directories that deploys write to."""
    environment = current_environment()
    root = environment.directory
    files.directory(name=f"Directory {root.parent}", path=str(root.parent), mode="755")
    for below, mode in DIRECTORIES.items():
        path = str(root / below)
        owner = None if below in paths.OWN else environment.ssh.user  # after its first run, the steward owns them
        files.directory(name=f"Directory {path}", path=path, user=owner, mode=mode)
