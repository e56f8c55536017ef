"""Send images to a host over SSH, compressed, and only the layers that it lacks."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tarfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ppmkit.errors import ShipError
from ppmkit.images.layers import Unreadable, chain_ids, root, save
from ppmkit.local.bounded import Tail
from ppmkit.local.engine import local_docker
from ppmkit.local.scratch import scratch
from ppmkit.release.model import Images

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.host.host import Host

Sent = Callable[[int, int], None]
"""Called with (bytes sent, total bytes) of the layers, before compression."""

COMPRESSED_SINCE = (25, 0)
"""First engine version that loads zstd archives with either image store (moby/moby#41759, #46605)."""

_STALL_SECONDS = 120.0
"""How long a host may accept no data."""

_LOAD_SECONDS = 600.0
"""Time limit for unpacking after the last byte."""

_LEVEL = 1
"""Of zstd. Level 3 would send 10% less for 50% more CPU time."""


def _layers(docker: DockerClient, references: Collection[str]) -> dict[str, list[str]]:
    """Return {image id: diff ids}, in one call."""
    if not references:
        return {}
    images = docker.image.inspect(list(references))
    return {image.id: list(image.root_fs.layers or []) for image in images}


def send_images(host: Host, images: Images, sent: Sent) -> int:
    """Send the images to the host; return the bytes sent. Raises ShipError.

    Nothing is sent for an image that the host has. Every image that arrives is verified by its id.
    """

    present = {image.id for image in host.docker.image.list()}
    if host.environment.images.source == "registry":
        _pull(host, images)
        return 0
    lacking = {name: id for name, id in images.by_name().items() if id not in present}
    if not lacking:
        return 0
    known = {chain for layers in _layers(host.docker, present).values() for chain in chain_ids(layers)}
    docker = local_docker()
    with scratch() as folder:
        archive = folder / "images.tar"
        try:
            save(root(docker), set(lacking.values()), known, archive)
        except Unreadable:
            docker.image.save(sorted(set(lacking.values())), output=archive)
        total = _send(host, archive, known, sent)
        arrived = {image.id for image in host.docker.image.list()}
        if not set(lacking.values()) <= arrived:
            docker.image.save(sorted(set(lacking.values())), output=archive)
            total += _send(host, archive, frozenset(), sent)
            arrived = {image.id for image in host.docker.image.list()}
    if missing := {name for name, id in lacking.items() if id not in arrived}:
        raise ShipError(
            f"{host.name}: {', '.join(sorted(missing))} did not arrive intact",
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
    """Given an archive of `docker save` and a host's chain ids, return the layer files that need not be sent."""
    manifest = archive.extractfile("manifest.json")
    assert manifest is not None, "docker save always writes a manifest"
    skip: set[str] = set()
    needed: set[str] = set()
    for image in json.load(manifest):
        config = archive.extractfile(image["Config"])
        assert config is not None, "the manifest names its config"
        for file, chain in zip(image["Layers"], chain_ids(json.load(config)["rootfs"]["diff_ids"]), strict=True):
            (skip if chain in known else needed).add(file)
    return skip - needed


class Pipe:
    """A file object for tarfile that writes to a process, with optional compression, and counts bytes."""

    def __init__(self, process: subprocess.Popen[bytes], total: int, sent: Sent, *, compress: bool) -> None:
        import zstandard

        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._stdin, self._total, self._sent = process.stdin.fileno(), total, sent
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj() if compress else None
        self._accepted = 0
        self.bytes = 0
        """Bytes sent so far, after compression."""

    def write(self, block: bytes) -> int:
        """Send a block; return its size."""
        self._accepted += len(block)
        self._pass(self._compressor.compress(block) if self._compressor else block)
        self._sent(min(self._accepted, self._total), self._total)
        return len(block)

    def end(self) -> None:
        """Send the rest of the compressor's buffer."""
        if self._compressor:
            self._pass(self._compressor.flush())

    def _pass(self, block: bytes) -> None:
        """Write to the process. Raises TimeoutError if it accepts no data for a while."""
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
            with suppress(subprocess.TimeoutExpired):  # it prints the reason and exits
                load.wait(_STALL_SECONDS)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise ShipError(
                f"{host.name}: the host stopped accepting the images",
                step="ship",
                host=host.name,
                next=f"ppmctl doctor -e {host.environment.name}",
            ) from error
        finally:
            load.kill()  # it has exited, or is no longer needed
            load.wait()
        output = errors.text()
        # A rejected thin archive is not fatal: the caller checks the ids and sends the whole archive.
        if (broken or load.returncode) and ("no space left" in output or not known):
            raise ShipError(
                f"{host.name}: the images did not load",
                step="ship",
                host=host.name,
                seen=output,
                next=_next(output, host),
            ) from broken
        return pipe.bytes


def _next(output: str, host: Host) -> str:
    if "no space left" in output:
        return f"Free space on {host.name} (docker image prune, journalctl --vacuum-size), then deploy again"
    return f"ppmctl doctor -e {host.environment.name}"
