"""Recipes of locally built images. Each recipe has one reference, so equal recipes are built only once."""

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
    """The inputs of an image build."""

    tag: str
    """repository, or repository:version; the reference adds the recipe's digest."""
    dockerfile: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Build arguments, including base images: a changed base changes the images built on it."""
    context: Path | None = None
    """The folder that the Dockerfile copies from, if any."""
    bases: Collection[str] = ()
    """Ids of the base images among the arguments, since their tags may move."""

    @property
    def reference(self) -> str:
        """The tag, with the digest of the Dockerfile, the arguments and all files of the context."""
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
    """Given a tag and the inputs of an image, return the tag with a digest of the inputs."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part)
    return f"{tag}{'-' if ':' in tag else ':'}{digest.hexdigest()[:12]}"


def ids(docker: DockerClient, references: Collection[str]) -> list[str] | None:
    """Return the images' ids in the given order, or None if the engine lacks one; makes one request."""
    inspect = [*docker.client_config.docker_cmd, "image", "inspect", "--format", "{{.Id}}", *references]
    result = subprocess.run(inspect, capture_output=True, check=False, encoding="utf-8")
    return result.stdout.split() if result.returncode == 0 else None


def build(docker: DockerClient, recipe: Recipe, announce: Announce, on_line: Announce = lambda _: None) -> str:
    """Build the image unless the engine has it; return its reference. Each output line is passed to ``on_line``.

    Raises BuildError with the last lines, or if the inputs changed during the build.
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
            on_line(line)
    except DockerException as failed:
        raise BuildError(
            f"the image {reference} did not build",
            step="build",
            seen="\n".join(tail),
            next=f"Fix {recipe.dockerfile}, the files it copies or its network access, and run the command again",
        ) from failed
    if recipe.reference != reference:
        docker.image.remove(reference)
        raise BuildError(
            f"the source files of {reference} changed during the build", step="build", next="Run the command again"
        )
    return reference
