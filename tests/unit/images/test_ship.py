"""Which layers need not be sent."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ppmkit.images.application import digest_of_migrations
from ppmkit.images.layers import chain_ids
from ppmkit.images.ship import Pipe, needless
from ppmkit.paths import PROJECT
from tests.support.processes import running


def archive_of(*images: list[str]) -> tarfile.TarFile:
    """Return what `docker save` writes for images given as lists of layers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

        manifest = []
        for n, layers in enumerate(images):
            add(f"{n}.json", json.dumps({"rootfs": {"diff_ids": layers}}).encode())
            manifest.append({"Config": f"{n}.json", "Layers": [f"{layer}.tar" for layer in layers]})
        for layer in sorted({layer for layers in images for layer in layers}):
            add(f"{layer}.tar", layer.encode())
        add("manifest.json", json.dumps(manifest).encode())
    out.seek(0)
    return tarfile.open(fileobj=out)


def test_a_chain_id_is_the_digest_of_the_chain_below_and_the_layer() -> None:
    a, b = "sha256:a", "sha256:b"
    assert chain_ids([a, b]) == [a, "sha256:" + hashlib.sha256(b"sha256:a sha256:b").hexdigest()]


def test_layers_that_the_host_has_are_left_out_and_no_other() -> None:
    known = set(chain_ids(["base", "python"]))
    assert needless(archive_of(["base", "python", "code"]), known) == {"base.tar", "python.tar"}


def test_a_layer_is_sent_when_one_image_has_it_on_another_base() -> None:
    known = set(chain_ids(["base", "python"]))
    assert needless(archive_of(["base", "python"], ["other", "python"]), known) == {"base.tar"}


@given(st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=5, unique=True), st.integers(0, 5))
def test_a_host_gets_exactly_the_layers_above_those_it_has(layers: list[str], has: int) -> None:
    with archive_of(layers) as archive:
        assert needless(archive, set(chain_ids(layers[:has]))) == {f"{layer}.tar" for layer in layers[:has]}


@pytest.mark.parametrize("compress", [True, False])
def test_what_goes_through_the_pipe_arrives_and_is_counted(tmp_path: Path, *, compress: bool) -> None:
    blocks = [bytes([number]) * 100_000 for number in range(20)]
    progress: list[tuple[int, int]] = []
    arrived = tmp_path / "arrived"
    with (
        arrived.open("wb") as out,
        running(["cat"], stdin=subprocess.PIPE, stdout=out) as process,
    ):
        pipe = Pipe(process, 2_000_000, lambda *done: progress.append(done), compress=compress)
        for block in blocks:
            pipe.write(block)
        pipe.end()
        process.communicate(timeout=60)

    content = arrived.read_bytes()
    assert pipe.bytes == len(content)
    assert (len(content) < 10_000) is compress
    if compress:
        content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
    assert content == b"".join(blocks)
    assert progress == [(100_000 * (number + 1), 2_000_000) for number in range(20)]


def test_other_migrations_have_another_digest_and_other_code_has_not(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(PROJECT / "app", app, ignore=shutil.ignore_patterns("ui", "__pycache__"))
    before = digest_of_migrations(app)
    (app / "api" / "__init__.py").write_text("# other code")
    (app / "migrations" / "__pycache__").mkdir()
    (app / "migrations" / "__pycache__" / "env.pyc").touch()
    assert before == digest_of_migrations(app) == digest_of_migrations(PROJECT / "app")

    (app / "migrations" / "versions" / "9999_another.py").touch()
    assert digest_of_migrations(app) != before
