"""Debian base image, built with debootstrap: the only image that has no base image."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ppmkit.errors import BuildError
from ppmkit.images.recipe import tagged
from ppmkit.local.engine import Part, install
from ppmkit.paths import KIT
from ppmkit.progress import Announce

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_SCRIPT = KIT / "templates" / "bases" / "debian.sh"


def reference() -> str:
    """Return the image's reference; it ends in the digest of the script that builds the image."""
    return tagged("ppm-base/debian:13", _SCRIPT.read_bytes())


def ensure(docker: DockerClient, announce: Announce) -> str:
    """Build the image unless the engine has it; return its reference. Takes about 40 s and needs root.

    Raises BuildError, EngineError.
    """
    image = reference()
    if docker.image.exists(image):
        return image
    if os.geteuid() != 0:
        raise BuildError(
            "no registry is used, and building the base images here needs root",
            step="bases",
            next="Run once as root: ppmctl images base",
        )
    if shutil.which("debootstrap") is None:
        install([Part.DEBOOTSTRAP], announce)
    announce(f"Building {image} from Debian's archive")
    # /tmp may be mounted nodev or noexec, and a chroot needs devices and executables.
    with tempfile.TemporaryDirectory(prefix="ppmctl-debian-", dir="/var/tmp") as scratch:
        tree = Path(scratch) / "tree"
        log = Path(scratch) / "log"
        _bootstrap(tree, log)
        _import(docker, tree, image)
    return image


def mirrors() -> tuple[str, str]:
    """Return the mirrors of Debian's archive and of its security updates that this machine's apt uses.

    A value is empty if apt has no such mirror (on another distribution, for example).
    """
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)/$(LABEL) $(REPO_URI)", "Created-By: Packages"],
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    urls = dict(line.rsplit(" ", 1) for line in reversed(targets.stdout.splitlines()) if " " in line)
    return urls.get("Debian/Debian", ""), urls.get("Debian/Debian-Security", "")


def _bootstrap(tree: Path, log: Path) -> None:
    with log.open("wb") as out:
        result = subprocess.run(
            ["/bin/sh", _SCRIPT, tree, *mirrors()], check=False, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    if result.returncode:
        raise BuildError(
            "debootstrap could not create the Debian image",
            step="bases",
            seen="\n".join(log.read_text(errors="replace", encoding="utf-8").splitlines()[-15:]),
            next="Check that `apt-get update` works on this machine, then run the command again",
        )


def _import(docker: DockerClient, tree: Path, image: str) -> None:
    command = [*docker.client_config.docker_cmd, "import", "--change", 'CMD ["bash"]', "-", image]
    with subprocess.Popen(
        ["tar", "--sort=name", "--numeric-owner", "-C", tree, "-c", "."], stdout=subprocess.PIPE
    ) as tar:
        loaded = subprocess.run(command, check=False, stdin=tar.stdout, capture_output=True, encoding="utf-8")
    if loaded.returncode or tar.returncode:
        raise BuildError("the engine could not import the Debian image", step="bases", seen=loaded.stderr.strip())
