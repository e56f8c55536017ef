"""The directory of the environment."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.operations import files

from deploy.tasks.connection import wanted
from ppmkit.steward import paths

# The proxy, another user, reads its routes from the mounted `dynamic`. Into `secrets` nobody else gets, and need not:
# Docker mounts each file by itself, so a container needs no way through the directory. Backups hold all data.
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
"""What lies below /srv/ppm/<environment>, with its mode; the user that deploys owns it."""


@deploy("ppm")
def ppm() -> None:
    """Make the directories that deploys write to."""
    environment = wanted()
    root = environment.directory
    files.directory(name=f"Directory {root.parent}", path=str(root.parent), mode="755")
    for below, mode in DIRECTORIES.items():
        path = str(root / below)
        owner = None if below in paths.OWN else environment.ssh.user  # the steward's, once that has run
        files.directory(name=f"Directory {path}", path=path, user=owner, mode=mode)
