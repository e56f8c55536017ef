"""Build the application's images here, and ship to a host only the layers that it lacks.

``docker load`` skips a layer whose chain id the engine already has, and never opens its file. So it loads an archive
that contains only the manifest, the config and the missing layers. A host with a containerd image store keeps
compressed blobs instead and rejects such an archive; then the whole image is sent.

The archive is compressed in transit, to a third, because uplinks are slow. Even over loopback this costs no time, since
SSH has less to encrypt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ppmkit.images import recipe
from ppmkit.images.built import REPOSITORY, prune
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
    """Build what changed and return the images by id; with ``source: registry``, return the config's images.

    Raises BuildError with the build's last lines.
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
    recipes = _recipes(docker, arguments)
    references = [each.reference for each in recipes.values()]
    if (ids := recipe.ids(docker, [*references, bases["traefik"]])) is None:
        with ThreadPoolExecutor() as pool:
            built = list(pool.map(lambda name: _build(docker, name, recipes[name], announce), recipes))
        ids = recipe.ids(docker, [*built, bases["traefik"]])
        assert ids is not None, "they were just built"
    prune(docker, references)
    return Images(**dict(zip((*recipes, "traefik"), ids, strict=True)))


def digest_of_migrations(app: Path) -> str:
    """Return the digest of the schema and the migrations, as stored in the label ``ppm.migrations``."""
    digest = hashlib.sha256()
    for file in (app / "schema.py", *sorted((app / "migrations").rglob("*.py"))):
        digest.update(f"{file.relative_to(app)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def have_same_migrations(host: Host, one: str, other: str) -> bool:
    """Return whether two api images have the same migrations by their labels; False if one is not on the host."""
    from python_on_whales.exceptions import NoSuchImage

    try:
        images = host.docker.image.inspect([one, other])
    except NoSuchImage:
        return False
    digests = {(image.config.labels or {}).get("ppm.migrations") for image in images}
    return len(digests) == 1 and bool(digests.pop())


def build_dev(environment: Environment, announce: Announce) -> dict[str, str]:
    """Return the images of a `dev` environment: the bases by name, and `api`, which has the API's dependencies."""
    from ppmkit.images.bases import ensure_bases
    from ppmkit.local.engine import local_docker

    docker = local_docker()
    bases = ensure_bases(environment.images, docker, announce)
    api = _recipes(docker, {"PYTHON_IMAGE": bases["python"]})["api"]
    reference = _build(docker, "api", api, announce)
    prune(docker, [reference])
    return bases | {"api": reference}


def _recipes(docker: DockerClient, arguments: Mapping[str, str]) -> dict[str, Recipe]:
    """Return each image's recipe, with the build arguments that it declares and the ids of its base images."""
    named = {key: value for key, value in arguments.items() if key.endswith("_IMAGE")}
    ids = dict(zip(named, recipe.ids(docker, named.values()) or (), strict=True))
    recipes = {}
    for name, context in _CONTEXTS.items():
        dockerfile = context / "Dockerfile"
        declared = dockerfile.read_text(encoding="utf-8")
        used = [key for key in arguments if f"ARG {key}" in declared]
        recipes[name] = Recipe(
            tag=f"{REPOSITORY}/{name}",
            dockerfile=dockerfile,
            arguments={key: arguments[key] for key in used},
            context=context,
            bases=[ids[key] for key in used if key in ids],
        )
    return recipes


def _build(docker: DockerClient, name: str, image: Recipe, announce: Announce) -> str:
    """Build an image unless it exists, and announce its steps; return its reference."""
    steps: dict[str, str] = {}

    def on_line(line: str) -> None:
        """Announce a step at its first output: a cached step has no output."""
        number, _, rest = line.strip().partition(" ")
        if rest.startswith("["):
            steps[number] = rest
        elif rest[:1].isdigit() and number in steps:
            announce(f"{name}: {steps.pop(number)[:100]}")

    return recipe.build(docker, image, announce, on_line)
