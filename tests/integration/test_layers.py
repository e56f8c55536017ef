"""Single layers from a real engine's store: the same bytes as `docker save`, and nothing that is not."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from python_on_whales import DockerClient

from ppmkit.images import layers as layer_store
from ppmkit.images.ship import COMPRESSED_SINCE, Pipe
from ppmkit.local.engine import local_docker, version
from tests.support.processes import running


@pytest.fixture(scope="module")
def docker() -> DockerClient:
    return local_docker()


@pytest.fixture(scope="module")
def image(docker: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of an image of two layers, with what tars are difficult about: long names, links, an empty file."""
    context = tmp_path_factory.mktemp("image")
    folder = context / "files" / ("a" * 90) / ("b" * 90)
    folder.mkdir(parents=True)
    (folder / "größe").write_bytes(b"x" * 12345)
    (folder / "empty").touch()
    (folder / "link").symlink_to("größe")
    (folder / "hard").hardlink_to(folder / "größe")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY files /first\nCOPY files/ /second\n")
    docker.buildx.build(context, tags=["ppm-test/store:test"], load=True, progress=False)
    return str(docker.image.inspect("ppm-test/store:test").id)


@pytest.fixture(scope="module")
def root(docker: DockerClient) -> Path:
    try:
        found = layer_store.root(docker)
        (found / "image").iterdir()
    except (layer_store.Unreadable, PermissionError) as closed:
        pytest.skip(f"this engine's store cannot be read, and ppmctl uses docker save: {closed}")
    return found


def layers(archive: Path) -> list[str | None]:
    """Return the digest of each layer that the manifest names, or None where its file was left out."""
    with tarfile.open(archive) as tar:
        read = tar.extractfile("manifest.json")
        assert read
        names = json.load(read)[0]["Layers"]
        there = tar.getnames()
        found = [tar.extractfile(name) if name in there else None for name in names]
        return [hashlib.sha256(layer.read()).hexdigest() if layer else None for layer in found]


def test_every_layer_is_byte_for_byte_that_of_docker_save(
    docker: DockerClient, image: str, root: Path, tmp_path: Path
) -> None:
    docker.image.save(image, output=tmp_path / "whole.tar")
    layer_store.save(root, [image], [], tmp_path / "ours.tar")

    assert layers(tmp_path / "ours.tar") == layers(tmp_path / "whole.tar")


def test_a_layer_that_is_known_is_left_out(docker: DockerClient, image: str, root: Path, tmp_path: Path) -> None:
    diff_ids = docker.image.inspect(image).root_fs.layers or []
    first, _ = layer_store.chain_ids(diff_ids)

    layer_store.save(root, [image], [first], tmp_path / "thin.tar")

    assert layers(tmp_path / "thin.tar") == [None, diff_ids[1].removeprefix("sha256:")]


def test_an_engine_of_this_version_loads_what_it_is_sent(docker: DockerClient, image: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    docker.image.save(image, output=whole)
    content = whole.read_bytes()

    with running(["docker", "load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
        pipe = Pipe(load, len(content), lambda *_: None, compress=version(docker) >= COMPRESSED_SINCE)
        pipe.write(content)
        pipe.end()
        said, _ = load.communicate(timeout=60)

    assert (load.returncode, said.decode().split()) == (0, ["Loaded", "image", "ID:", image])


def test_a_layer_that_came_out_different_is_refused(
    docker: DockerClient, image: str, root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "root"
    wanted = [f"image/overlay2/imagedb/content/sha256/{image.removeprefix('sha256:')}"]
    for chain in layer_store.chain_ids(docker.image.inspect(image).root_fs.layers or []):
        layer = f"image/overlay2/layerdb/sha256/{chain.removeprefix('sha256:')}"
        wanted += [layer, f"overlay2/{(root / layer / 'cache-id').read_text()}/diff"]
    for path in wanted:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        if (root / path).is_dir():
            shutil.copytree(root / path, copy / path, symlinks=True)
        else:
            shutil.copy(root / path, copy / path)
    layer_store.save(copy, [image], [], tmp_path / "fine.tar")
    file = next(path for path in copy.rglob("größe") if path.is_file())
    file.write_bytes(file.read_bytes()[:-1] + b"!")

    with pytest.raises(layer_store.Unreadable, match="came out different"):
        layer_store.save(copy, [image], [], tmp_path / "bad.tar")


def test_a_store_that_is_not_there_is_said_to_be_unreadable(image: str, tmp_path: Path) -> None:
    with pytest.raises(layer_store.Unreadable):
        layer_store.save(tmp_path, [image], [], tmp_path / "none.tar")
