"""Build the application's images here, and ship to a host only the layers that it lacks.

``docker load`` skips a layer whose chain id the engine already has, and never opens its file. So an archive
of manifest, config and the missing layers loads. A host with a containerd image store keeps compressed
blobs instead and refuses such an archive: then the whole image is sent.

It is compressed on its way, to a third: uplinks are slow. Over a loopback that costs no time either, since SSH has less
to encrypt.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import tarfile
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ppmkit.errors import ShipError
from ppmkit.images import built as builtimages
from ppmkit.images import layers as imagestore
from ppmkit.images import recipe
from ppmkit.images.recipe import Announce, Recipe
from ppmkit.local.bounded import Tail
from ppmkit.local.scratch import scratch
from ppmkit.paths import KIT, PROJECT
from ppmkit.release.model import Images

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host

Sent = Callable[[int, int], None]
"""Called with (bytes of the layers that are sent, all of them), as they are before they are compressed."""
COMPRESSED_SINCE = (25, 0)
"""Of the engine: with either image store it loads what zstd has compressed (moby/moby#41759, #46605)."""
_STALL_SECONDS = 120.0
"""How long a host may take nothing of what is sent."""
_LOAD_SECONDS = 600.0
"""How long it may take to unpack the last of it."""
_LEVEL = 1
"""Of zstd. Level 3 would send a tenth less for half as much processor again."""
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


def _layers(docker: DockerClient, references: Collection[str]) -> dict[str, list[str]]:
    """Return {image id: diff ids}, in one call."""
    if not references:
        return {}
    found = docker.image.inspect(list(references))
    return {image.id: list(image.root_fs.layers or []) for image in found}


def ship(host: Host, images: Images, sent: Sent) -> int:
    """Bring the images to the host; return the bytes sent. Raises ShipError.

    Nothing is sent for an image that is there. Each that arrives is checked by its id.
    """
    from ppmkit.local.engine import local_docker

    there = {image.id for image in host.docker.image.list()}
    if host.environment.images.source == "registry":
        _pull(host, images)
        return 0
    lacking = {name: id for name, id in images.by_name().items() if id not in there}
    if not lacking:
        return 0
    known = {chain for layers in _layers(host.docker, there).values() for chain in imagestore.chain_ids(layers)}
    here = local_docker()
    with scratch() as folder:
        archive = folder / "images.tar"
        try:
            imagestore.save(imagestore.root(here), set(lacking.values()), known, archive)
        except imagestore.Unreadable:
            here.image.save(sorted(set(lacking.values())), output=archive)
        total = _send(host, archive, known, sent)
        arrived = {image.id for image in host.docker.image.list()}
        if not set(lacking.values()) <= arrived:
            here.image.save(sorted(set(lacking.values())), output=archive)
            total += _send(host, archive, frozenset(), sent)
            arrived = {image.id for image in host.docker.image.list()}
    if missing := {name for name, id in lacking.items() if id not in arrived}:
        raise ShipError(
            f"{host.name}: {', '.join(sorted(missing))} did not arrive as built",
            step="ship",
            host=host.name,
            next=f"ppmctl doctor -e {host.environment.name}",
        )
    return total


def _pull(host: Host, images: Images) -> None:
    from python_on_whales import DockerException

    for name, reference in images.by_name().items():
        try:
            host.docker.image.pull(reference, quiet=True)
        except DockerException as failed:
            raise ShipError(
                f"{host.name}: cannot pull the {name} image",
                step="ship",
                host=host.name,
                seen=(failed.stderr or "").strip(),
                next=f"Check on the host: docker pull {reference}",
            ) from failed


def needless(archive: tarfile.TarFile, known: Collection[str]) -> set[str]:
    """Given an archive of `docker save` and a host's chain ids, return the layer files it need not get."""
    manifest = archive.extractfile("manifest.json")
    assert manifest is not None, "docker save always writes a manifest"
    skip: set[str] = set()
    needed: set[str] = set()
    for image in json.load(manifest):
        config = archive.extractfile(image["Config"])
        assert config is not None, "the manifest names its config"
        for file, chain in zip(
            image["Layers"], imagestore.chain_ids(json.load(config)["rootfs"]["diff_ids"]), strict=True
        ):
            (skip if chain in known else needed).add(file)
    return skip - needed


class Pipe:
    """A file for tarfile that writes to a process, compressed or as it is, and counts."""

    def __init__(self, process: subprocess.Popen[bytes], total: int, sent: Sent, *, compress: bool) -> None:
        import zstandard

        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._stdin, self._total, self._sent = process.stdin.fileno(), total, sent
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj() if compress else None
        self._taken = 0
        self.bytes = 0
        """Sent so far, as they went."""

    def write(self, block: bytes) -> int:
        """Send a block; return its size."""
        self._taken += len(block)
        self._pass(self._compressor.compress(block) if self._compressor else block)
        self._sent(min(self._taken, self._total), self._total)
        return len(block)

    def end(self) -> None:
        """Send what the compressor holds still."""
        if self._compressor:
            self._pass(self._compressor.flush())

    def _pass(self, block: bytes) -> None:
        """Write to the process. Raises TimeoutError when it takes nothing for a while."""
        rest = memoryview(block)
        while rest:
            if not select.select([], [self._stdin], [], _STALL_SECONDS)[1]:
                raise TimeoutError
            rest = rest[os.write(self._stdin, rest) :]
        self.bytes += len(block)


def _send(host: Host, whole: Path, known: Collection[str], sent: Sent) -> int:
    """Load the archive on the host, without the layers in ``known``; return the bytes sent."""
    argv = ["docker", "-H", f"unix://{host.docker_socket}", "load", "-q"]
    compress = host.engine_version >= COMPRESSED_SINCE
    with (
        tarfile.open(whole) as archive,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as load,
    ):
        assert load.stdin is not None
        assert load.stderr is not None
        errors, skip = Tail(load.stderr), needless(archive, known)
        members = [member for member in archive if member.name not in skip]
        pipe = Pipe(load, sum(512 + member.size for member in members), sent, compress=compress)
        broken: Exception | None = None
        try:
            with tarfile.open(fileobj=cast("Any", pipe), mode="w|", bufsize=1 << 20) as out:
                for member in members:
                    out.addfile(member, archive.extractfile(member) if member.isreg() else None)
            pipe.end()
            load.stdin.close()
            load.wait(_LOAD_SECONDS)
        except BrokenPipeError as error:
            broken = error
            with suppress(subprocess.TimeoutExpired):  # it says why, and ends
                load.wait(_STALL_SECONDS)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise ShipError(
                f"{host.name}: it stopped taking the images",
                step="ship",
                host=host.name,
                next=f"ppmctl doctor -e {host.environment.name}",
            ) from error
        finally:
            load.kill()  # it has ended, or nobody waits for it any more
            load.wait()
        said = errors.text()
        # A refused thin archive is not the end: the caller looks for the ids, and sends the whole.
        if (broken or load.returncode) and ("no space left" in said or not known):
            raise ShipError(
                f"{host.name}: the images did not load",
                step="ship",
                host=host.name,
                seen=said,
                next=_next(said, host),
            ) from broken
        return pipe.bytes


def _next(said: str, host: Host) -> str:
    if "no space left" in said:
        return f"Free space on {host.name} (docker image prune, journalctl --vacuum-size), then deploy again"
    return f"ppmctl doctor -e {host.environment.name}"
