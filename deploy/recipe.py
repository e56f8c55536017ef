"""Images that are made here: one recipe, one reference. Equal recipes are built once."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from deploy.engine import build_secrets
from deploy.errors import BuildError
from deploy.scratch import scratch

if TYPE_CHECKING:
    from python_on_whales import DockerClient

Announce = Callable[[str], None]


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

    @property
    def reference(self) -> str:
        """The tag with the digest of the Dockerfile, the arguments and each file of the context."""
        files = [self.dockerfile]
        if self.context is not None:
            files += sorted(path for path in self.context.rglob("*") if path.is_file())
        parts = [f"{key}={value}".encode() for key, value in sorted(self.arguments.items())]
        for path in files:
            parts += [path.name.encode(), path.read_bytes()]
        return tagged(self.tag, *parts)


def tagged(tag: str, *parts: bytes) -> str:
    """Given a tag and what an image is made from, return the tag with a digest of that."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part)
    return f"{tag}{'-' if ':' in tag else ':'}{digest.hexdigest()[:12]}"


def all_there(docker: DockerClient, references: Collection[str]) -> bool:
    """Return whether the engine has all of these images; it is asked once."""
    inspect = [*docker.client_config.docker_cmd, "image", "inspect", "--format", "{{.Id}}", *references]
    return subprocess.run(inspect, capture_output=True, check=False).returncode == 0


def build(docker: DockerClient, recipe: Recipe, announce: Announce) -> str:
    """Build the image unless the engine has it; return its reference. Raises BuildError with the last lines."""
    reference = recipe.reference
    if docker.image.exists(reference):
        return reference
    announce(f"Building {reference}")
    context, name = recipe.context or recipe.dockerfile.parent, recipe.dockerfile.name
    remedy = f"Mend {name}, or what it needs from the network, and run the command again"
    run_build(docker, reference, context, recipe.dockerfile, recipe.arguments, remedy=remedy)
    return reference


def run_build(
    docker: DockerClient,
    tag: str,
    context: Path,
    dockerfile: Path,
    arguments: Mapping[str, str],
    *,
    remedy: str,
    heard: Announce = lambda _: None,
) -> str:
    """Build an image and return its id; each line that the build prints goes to ``heard``.

    The id is the build's own word: by the time one asks, the tag may be what another checkout has built. Raises
    BuildError with the last lines, and ``remedy`` as what to do next.
    """
    from python_on_whales import DockerException

    tail: deque[str] = deque(maxlen=30)
    with scratch() as folder:
        try:
            lines = docker.buildx.build(
                context,
                file=dockerfile,
                build_args=dict(arguments),
                load=True,
                progress="plain",
                secrets=build_secrets(),
                stream_logs=True,
                tags=[tag],
                metadata_file=folder / "metadata.json",
            )
            for line in cast("Iterator[str]", lines):
                tail.append(line.rstrip())
                heard(line)
        except DockerException as failed:
            raise BuildError(
                f"the image {tag} did not build", step="build", seen="\n".join(tail), next=remedy
            ) from failed
        made: dict[str, str] = json.loads((folder / "metadata.json").read_text())
    # An engine of its own image store goes by the config's digest, one with containerd's by the manifest's.
    found = [made[key] for key in ("containerimage.config.digest", "containerimage.digest") if key in made]
    return next(digest for digest in found if docker.image.exists(digest))
