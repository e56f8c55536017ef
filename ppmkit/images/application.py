"""Build the application's images here, and ship to a host only the layers that it lacks.

``docker load`` skips a layer whose chain id the engine already has, and never opens its file. So an archive
of manifest, config and the missing layers loads. A host with a containerd image store keeps compressed
blobs instead and refuses such an archive: then the whole image is sent.

It is compressed on its way, to a third: uplinks are slow. Over a loopback that costs no time either, since SSH has less
to encrypt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ppmkit.images import built as builtimages
from ppmkit.images import recipe
from ppmkit.images.recipe import Recipe
from ppmkit.paths import KIT, PROJECT
from ppmkit.progress import Announce
from ppmkit.release.model import Images

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host

_CONTEXTS = {
    "api": PROJECT / "app",
    "frontend": PROJECT / "app" / "ui",
    "steward": KIT / "ppmkit" / "steward",
}


def build(environment: Environment, announce: Announce) -> Images:
    """Build what changed and return the images by id; with ``source: registry`` return what the config names.

    Raises BuildError with the last lines that the build printed.
    """
    from ppmkit.images.bases import ensure_bases
    from ppmkit.local.engine import local_docker

    if environment.images.registry is not None:
        named = environment.images.registry
        return Images(**named.model_dump())
    docker = local_docker()
    bases = ensure_bases(environment.images, docker, announce)
    arguments = {
        "PYTHON_IMAGE": bases["python"],
        "NODE_IMAGE": bases["node"],
        "NGINX_IMAGE": bases["nginx"],
        "VITE_API_BASE_URL": environment.app.vite_api_base_url,
        "MIGRATIONS": digest_of_migrations(_CONTEXTS["api"]),
    }
    made_from = _recipes(docker, arguments)
    wanted = [each.reference for each in made_from.values()]
    if (found := recipe.ids(docker, [*wanted, bases["traefik"]])) is None:
        with ThreadPoolExecutor() as pool:
            built = list(pool.map(lambda name: _build(docker, name, made_from[name], announce), made_from))
        found = recipe.ids(docker, [*built, bases["traefik"]])
        assert found is not None, "they are there now"
    builtimages.prune(docker, wanted)
    return Images(**dict(zip((*made_from, "traefik"), found, strict=True)))


def digest_of_migrations(app: Path) -> str:
    """Return a digest of what decides which migrations a database lacks, as the label ``ppm.migrations`` has it."""
    digest = hashlib.sha256()
    for file in (app / "schema.py", *sorted((app / "migrations").rglob("*.py"))):
        digest.update(f"{file.relative_to(app)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def have_same_migrations(host: Host, one: str, other: str) -> bool:
    """Return whether two api images say that they have the same migrations; no where one is not on the host."""
    from python_on_whales.exceptions import NoSuchImage

    try:
        found = host.docker.image.inspect([one, other])
    except NoSuchImage:
        return False
    said = {(image.config.labels or {}).get("ppm.migrations") for image in found}
    return len(said) == 1 and bool(said.pop())


def build_dev(environment: Environment, announce: Announce) -> dict[str, str]:
    """Return the images of a `dev` environment: the bases by name, and `api` for its dependencies."""
    from ppmkit.images.bases import ensure_bases
    from ppmkit.local.engine import local_docker

    docker = local_docker()
    bases = ensure_bases(environment.images, docker, announce)
    api = _recipes(docker, {"PYTHON_IMAGE": bases["python"]})["api"]
    reference = _build(docker, "api", api, announce)
    builtimages.prune(docker, [reference])
    return bases | {"api": reference}


def _recipes(docker: DockerClient, arguments: Mapping[str, str]) -> dict[str, Recipe]:
    """Return what each image is built from: the arguments that it declares, and what its bases' names stand for."""
    named = {key: value for key, value in arguments.items() if key.endswith("_IMAGE")}
    ids = dict(zip(named, recipe.ids(docker, named.values()) or (), strict=True))
    found = {}
    for name, context in _CONTEXTS.items():
        dockerfile = context / "Dockerfile"
        declared = dockerfile.read_text(encoding="utf-8")
        wanted = [key for key in arguments if f"ARG {key}" in declared]
        found[name] = Recipe(
            tag=f"{builtimages.REPOSITORY}/{name}",
            dockerfile=dockerfile,
            arguments={key: arguments[key] for key in wanted},
            context=context,
            bases=[ids[key] for key in wanted if key in ids],
        )
    return found


def _build(docker: DockerClient, name: str, made_from: Recipe, announce: Announce) -> str:
    """Build one, unless it is there, and tell of its steps; return its reference."""
    steps: dict[str, str] = {}

    def heard(line: str) -> None:
        """Announce a step with its first output: of one that is cached there is none."""
        number, _, rest = line.strip().partition(" ")
        if rest.startswith("["):
            steps[number] = rest
        elif rest[:1].isdigit() and number in steps:
            announce(f"{name}: {steps.pop(number)[:100]}")

    return recipe.build(docker, made_from, announce, heard)
