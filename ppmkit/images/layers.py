"""Read single layers directly from this machine's engine, if its store is readable: root, overlay2.

To get the one layer that changed, `docker save` writes every layer of an image, twice. This takes seconds and most
of a deploy's CPU time. For each layer, the engine keeps its files and the tar metadata around them
(github.com/vbatts/tar-split), so the tar can be rebuilt byte for byte. That layout is internal to the engine, so
nothing here is trusted: every layer is verified against its digest, and on :class:`Unreadable` the caller falls back
to `docker save`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_SEGMENT, _FILE = 2, 1  # tar-split's types of entry
_BLOCK = 1 << 20


class Unreadable(Exception):
    """The engine's store is remote, not readable, or has an unexpected layout."""


def chain_ids(layers: Sequence[str]) -> list[str]:
    """Given an image's layers as diff ids, bottom first, return the chain id of each.

    The OCI image specification defines it: config.md, "Layer ChainID".
    """
    chain: list[str] = []
    for layer in layers:
        both = f"{chain[-1]} {layer}".encode() if chain else b""
        chain.append(f"sha256:{hashlib.sha256(both).hexdigest()}" if both else layer)
    return chain


def root(docker: DockerClient) -> Path:
    """Return the engine's data directory. Raises Unreadable if its layout is not supported."""
    info = docker.info()
    if info.driver != "overlay2" or info.docker_root_dir is None:
        raise Unreadable(f"the engine's driver is {info.driver}")
    return Path(info.docker_root_dir)


def save(root: Path, images: Collection[str], known: Collection[str], archive: Path) -> None:
    """Write the archive that `docker save` would, but without the layers whose chain id is in ``known``.

    The manifest still lists them. Raises Unreadable; then the archive must not be used.
    """
    try:
        with tarfile.open(archive, "w") as out:
            manifest = [_image(root, image, known, out) for image in sorted(images)]
            _add(out, "manifest.json", json.dumps(manifest).encode())
    except (OSError, LookupError, ValueError) as error:
        raise Unreadable(str(error)) from error


def _image(root: Path, image: str, known: Collection[str], out: tarfile.TarFile) -> dict[str, Any]:
    digest = image.removeprefix("sha256:")
    config = (root / "image/overlay2/imagedb/content/sha256" / digest).read_bytes()
    if hashlib.sha256(config).hexdigest() != digest:
        raise Unreadable(f"{image} is not what its name says")
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    files = []
    for diff_id, chain in zip(diff_ids, chain_ids(diff_ids), strict=True):
        name = f"{chain.removeprefix('sha256:')}/layer.tar"
        files.append(name)
        if chain not in known and name not in out.getnames():
            _layer(root, chain, diff_id, name, out)
    _add(out, f"{digest}.json", config)
    return {"Config": f"{digest}.json", "RepoTags": None, "Layers": files}


def _layer(root: Path, chain: str, diff_id: str, name: str, out: tarfile.TarFile) -> None:
    metadata = root / "image/overlay2/layerdb/sha256" / chain.removeprefix("sha256:")
    files = root / "overlay2" / (metadata / "cache-id").read_text(encoding="utf-8") / "diff"
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(max_size=16 * _BLOCK) as tar:
        for block in _tar(metadata / "tar-split.json.gz", files):
            digest.update(block)
            tar.write(block)
        if f"sha256:{digest.hexdigest()}" != diff_id:
            raise Unreadable(f"the layer {diff_id} came out different")
        member = tarfile.TarInfo(name)
        member.size = tar.tell()
        tar.seek(0)
        out.addfile(member, tar)


def _tar(split: Path, files: Path) -> Iterator[bytes]:
    """Yield a layer's original tar: headers and padding from ``split``, contents from ``files``."""
    with gzip.open(split) as entries:
        for line in entries:
            entry = json.loads(line)
            if entry["type"] == _SEGMENT:
                yield base64.b64decode(entry["payload"])
            elif entry["type"] == _FILE and entry.get("size"):
                name = base64.b64decode(entry["name_raw"]).decode() if "name_raw" in entry else entry["name"]
                with (files / name.lstrip("/")).open("rb") as file:
                    while block := file.read(_BLOCK):
                        yield block


def _add(out: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    out.addfile(member, io.BytesIO(content))
