"""Which files of a context count: exactly those that the real BuildKit sends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppmkit.images.dockerignore import files

TREE = (
    "keep.txt",
    "a.txt",
    "[x].txt",
    "a.b.txt",
    "aXb.txt",
    "a^b",
    "sub/keep.txt",
    "sub/a.txt",
    "sub/deep/keep.txt",
    "sub/deep/a.md",
    "sub/deep/er/keep.txt",
    "sub.d/a.txt",
    "other/sub/a.txt",
    "other/sub/keep.txt",
    "other/.hidden",
    "größe/é.txt",
)
TABLE = (
    "*.txt\n!keep.txt",
    "*.txt",
    "**/*.txt\n!**/keep.txt",
    "**/keep.txt",
    "**.txt",
    "**.tx?",
    "sub",
    "sub/",
    "/sub",
    "./sub/../sub",
    "  sub  ",
    "\ufeffsub",
    "sub\n!sub/deep",
    "sub\n!sub/deep/keep.txt",
    "sub\n!sub/deep\nsub/deep/er",
    "sub\n!sub\nsub",
    "sub\n!sub/deep\nsub",
    "sub\n!keep.txt",
    "sub\n!*.txt",
    "sub\n!*/*.txt",
    "sub\n!**/keep.txt",
    "*\n!sub/deep",
    "*\n!sub/deep/**",
    "**\n!keep.txt",
    "**\n!sub/*/keep.txt",
    "!keep.txt\n*.txt",
    "sub/**",
    "sub**",
    "sub/*",
    "sub/*/keep.txt",
    "s?b",
    "s[a-u]b",
    "s[^a-t]b",
    "s[^x]b",
    "sub[^x]a.txt",
    "a.b.txt",
    "a?b.txt",
    "\\[x\\].txt",
    "[[]x].txt",
    "\\[[w-y]\\].txt",
    "a^b",
    "*^b",
    "gr*",
    "größe/?.txt",
    "**/sub",
    "**/sub/a.txt",
    "o**/a.txt",
    "other/**/a.txt",
    "*/sub",
    "#sub\n # keep.txt\n\n!\t sub",
    "! sub\n sub",
    "Dockerfile\n.dockerignore",
    ".",
    "/",
)
"""Each a .dockerignore."""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context with the files of TREE."""
    folder = tmp_path_factory.mktemp("context")
    for name in TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "link").symlink_to("sub")
    return folder


def counted(context: Path, dockerfile: Path) -> set[str]:
    return {str(path.relative_to(context)) for path in files(context, dockerfile)}


def arrived(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_symlink() or not path.is_dir()}


def recipes(folder: Path, ignores: Sequence[str]) -> list[Path]:
    """Write a Dockerfile that copies all, with a .dockerignore of its own, for each of these texts."""
    made = []
    for number, ignore in enumerate(ignores):
        made.append(folder / f"{number}.Dockerfile")
        made[-1].write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
        (folder / f"{number}.Dockerfile.dockerignore").write_text(f"{ignore}\n", encoding="utf-8")
    return made


def build(context: Path, outs: Mapping[Path, Path]) -> None:
    """Have BuildKit build these Dockerfiles, all at once, each into a folder and not into the engine."""
    target = {
        f"t{number}": {"context": str(context), "dockerfile": str(file), "output": [f"type=local,dest={out}"]}
        for number, (file, out) in enumerate(outs.items())
    }
    plan = json.dumps({"group": {"default": {"targets": list(target)}}, "target": target})
    done = subprocess.run(
        ["docker", "buildx", "bake", "--file", "-"], input=plan.encode(), capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def built(context: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """What is made of every text of TABLE: (Dockerfile, folder with what arrived)."""
    folder = tmp_path_factory.mktemp("built")
    made = recipes(folder, TABLE)
    outs = {file: folder / f"{file.stem}.out" for file in made}
    build(context, outs)
    return dict(zip(TABLE, outs.items(), strict=True))


@pytest.mark.parametrize("ignore", TABLE)
def test_the_files_that_count_are_those_that_a_build_copies(
    context: Path, built: dict[str, tuple[Path, Path]], ignore: str
) -> None:
    dockerfile, out = built[ignore]

    assert counted(context, dockerfile) == arrived(out)


def test_the_contexts_own_file_counts_where_the_dockerfile_has_none(tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "sub").mkdir(parents=True)
    for name in ("keep.txt", "a.txt", "sub/a.txt"):
        (context / name).touch()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
    (context / ".dockerignore").write_text("*\n!*.txt\nsub\n", encoding="utf-8")
    build(context, {context / "Dockerfile": tmp_path / "out"})

    assert counted(context, context / "Dockerfile") == arrived(tmp_path / "out") == {"keep.txt", "a.txt"}


PART = st.sampled_from(["*", "**", "/", "sub", "keep.txt", "s?b", "deep", "a", "[a-s]", ".txt"])
LINE = st.tuples(st.sampled_from(["", "!"]), st.lists(PART, min_size=1, max_size=6)).map(
    lambda line: line[0] + "".join(line[1])
)


@pytest.mark.full
@settings(max_examples=10, deadline=None)
@given(ignores=st.lists(st.lists(LINE, min_size=1, max_size=4).map("\n".join), min_size=20, max_size=40))
def test_so_it_is_whatever_the_patterns(
    context: Path, tmp_path_factory: pytest.TempPathFactory, ignores: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    made = {file: folder / f"{file.stem}.out" for file in recipes(folder, ignores)}
    build(context, made)

    for ignore, (dockerfile, out) in zip(ignores, made.items(), strict=True):
        assert counted(context, dockerfile) == arrived(out), ignore
