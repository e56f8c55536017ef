"""Images that are made here: one recipe, one reference. Equal recipes are built once."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ppmkit.errors import BuildError
from ppmkit.images.dockerignore import files
from ppmkit.local.engine import build_secrets
from ppmkit.progress import Announce

if TYPE_CHECKING:
    from python_on_whales import DockerClient


@dataclass(frozen=True)
class Recipe:
    """What an image is built from."""

    tag: str
    """repository, or repository:version; the reference ends in the recipe's digest."""
    dockerfile: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Build arguments, bases among them: a base that changes changes what is built on it."""
    context: Path | None = None
    """The folder that the Dockerfile copies from, if it copies."""
    bases: Collection[str] = ()
    """Ids of images among the arguments whose names may stand for others one day."""

    @property
    def reference(self) -> str:
        """The tag with the digest of the Dockerfile, the arguments and each file of the context."""
        parts = [f"{key}={value}".encode() for key, value in sorted(self.arguments.items())]
        parts += [base.encode() for base in self.bases]
        parts += [self.dockerfile.name.encode(), self.dockerfile.read_bytes()]
        if self.context is not None:
            for path in files(self.context, self.dockerfile):
                link = path.is_symlink()
                kind = "@" if link else "*" if os.access(path, os.X_OK) else ""
                content = os.fsencode(path.readlink()) if link else path.read_bytes()
                parts += [f"{path.relative_to(self.context)}{kind}".encode(), content]
        return tagged(self.tag, *parts)


def tagged(tag: str, *parts: bytes) -> str:
    """Given a tag and what an image is made from, return the tag with a digest of that."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part)
    return f"{tag}{'-' if ':' in tag else ':'}{digest.hexdigest()[:12]}"


def ids(docker: DockerClient, references: Collection[str]) -> list[str] | None:
    """Return the images' ids in this order, or None where the engine lacks one; it is asked once."""
    inspect = [*docker.client_config.docker_cmd, "image", "inspect", "--format", "{{.Id}}", *references]
    done = subprocess.run(inspect, capture_output=True, check=False, encoding="utf-8")
    return done.stdout.split() if done.returncode == 0 else None


def build(docker: DockerClient, recipe: Recipe, announce: Announce, heard: Announce = lambda _: None) -> str:
    """Build the image unless the engine has it; return its reference. Each line that a build prints goes to ``heard``.

    Raises BuildError with the last lines, or when what it is built from changed meanwhile.
    """
    from python_on_whales import DockerException

    reference = recipe.reference
    if docker.image.exists(reference):
        return reference
    announce(f"Building {reference}")
    tail: deque[str] = deque(maxlen=30)
    try:
        lines = docker.buildx.build(
            recipe.context or recipe.dockerfile.parent,
            file=recipe.dockerfile,
            build_args=dict(recipe.arguments),
            load=True,
            progress="plain",
            secrets=build_secrets(),
            stream_logs=True,
            tags=[reference],
        )
        for line in cast("Iterator[str]", lines):
            tail.append(line.rstrip())
            heard(line)
    except DockerException as failed:
        raise BuildError(
            f"the image {reference} did not build",
            step="build",
            seen="\n".join(tail),
            next=f"Mend {recipe.dockerfile}, what it copies or needs from the network, and run the command again",
        ) from failed
    if recipe.reference != reference:
        docker.image.remove(reference)
        raise BuildError(
            f"what {reference} is made from changed while it was built", step="build", next="Run the command again"
        )
    return reference
