"""Base images: pulled if a registry answers, else built here from Debian's archive and PyPI."""

from __future__ import annotations

import selectors
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from ppmkit.errors import BuildError
from ppmkit.images.debian import ensure, reference
from ppmkit.images.recipe import Recipe, build, ids
from ppmkit.paths import KIT
from ppmkit.progress import Announce

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.config.environment import Images

_RECIPES = KIT / "templates" / "bases"
_DEBIAN = "debian:13-slim"
_PROBE_SECONDS = 5.0
"""A registry that does not identify the image within this time counts as absent."""


def ensure_bases(images: Images, docker: DockerClient, announce: Announce) -> dict[str, str]:
    """Pull or build every base image on this machine; return {python, node, nginx, traefik, debian: reference}.

    Raises BuildError.
    """
    published = images.registry_bases.model_dump() | {"debian": _DEBIAN}
    if _use_registry(images, published, docker, announce):
        return published
    return _make(docker, announce)


def ensure_debian(images: Images, docker: DockerClient, announce: Announce) -> str:
    """Like ensure_bases, for Debian only."""
    published = {"debian": _DEBIAN}
    if _use_registry(images, published, docker, announce):
        return _DEBIAN
    return ensure(docker, announce)


def recipes(debian: str) -> dict[str, Recipe]:
    """Given the reference of the Debian base, return the recipes of the other bases."""

    def recipe(name: str, version: str, **arguments: str) -> Recipe:
        return Recipe(
            tag=f"ppm-base/{name}:{version}",
            dockerfile=_RECIPES / f"{name}.Dockerfile",
            arguments={"DEBIAN_IMAGE": debian, **arguments},
        )

    python = recipe("python", "3.13")
    return {
        "python": python,
        "nginx": recipe("nginx", "1.26"),
        "node": recipe("node", "24", PYTHON_IMAGE=python.reference),
        "traefik": recipe("traefik", "3.7", PYTHON_IMAGE=python.reference),
    }


def _make(docker: DockerClient, announce: Announce) -> dict[str, str]:
    """Build every base here: Debian, then Python and nginx in parallel, then those that Python's pip downloads."""
    references = _local_references()
    if ids(docker, references.values()) is not None:
        return references
    debian = ensure(docker, announce)
    by_name = recipes(debian)
    built = {"debian": debian}
    for batch in (("python", "nginx"), ("node", "traefik")):
        with ThreadPoolExecutor() as pool:
            futures = {name: pool.submit(build, docker, by_name[name], announce) for name in batch}
        built |= {name: future.result() for name, future in futures.items()}
    return built


def _local_references() -> dict[str, str]:
    """Return {name: reference} of the locally built bases, whether or not they exist yet."""
    debian = reference()
    return {"debian": debian} | {name: recipe.reference for name, recipe in recipes(debian).items()}


def _use_registry(images: Images, published: Mapping[str, str], docker: DockerClient, announce: Announce) -> bool:
    """Return whether to use the published images; if so, all of them are pulled. Raises BuildError."""
    if images.bases == "local":
        return False
    if ids(docker, published.values()) is not None:
        return True
    # Locally built bases stay in use: a registry that answers only sometimes must not change the deployed images.
    local = [reference for name, reference in _local_references().items() if name in published]
    if images.bases == "auto" and ids(docker, local) is not None:
        return False
    missing = [reference for reference in published.values() if not docker.image.exists(reference)]
    failure = _pull_first(tuple(docker.client_config.docker_cmd), missing[0])
    if failure and images.bases == "auto":
        announce(f"No registry answers ({failure}): building the base images here")
        return False
    if failure:
        raise BuildError(
            f"{missing[0]} could not be pulled",
            step="bases",
            seen=failure,
            next="Check the engine's connection to its registry, or set `images.bases: local`",
        )
    announce(f"Pulling {', '.join(missing)}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(docker.image.pull, missing[1:]))
    return True


@cache
def _pull_first(docker: tuple[str, ...], reference: str) -> str:
    """Pull an image if a registry answers soon; return the reason if not, else "". Runs once per process."""
    pull = subprocess.Popen(
        [*docker, "pull", reference], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    with pull, selectors.DefaultSelector() as selector:
        if pull.stdout is None or pull.stderr is None:
            raise AssertionError("both are pipes")
        # The first line names the image; the client prints it as soon as the registry has answered.
        selector.register(pull.stdout, selectors.EVENT_READ)
        if not selector.select(_PROBE_SECONDS):
            pull.kill()
            return f"no answer within {_PROBE_SECONDS:.0f} s"
        _, errors = pull.communicate()
    return errors.strip() or "docker pull failed without output" if pull.returncode else ""
