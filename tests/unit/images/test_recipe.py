from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ppmkit.images.dockerignore import files, parse
from ppmkit.images.recipe import Recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A context as the application's are, with what must not count in it."""
    (tmp_path / ".dockerignore").write_text("# all but main.py and sub\nui\n**/__pycache__\n**/*.pyc\n")
    for name in ("Dockerfile", "main.py", "sub/deep.py", "sub/ui/page.ts", "ui/page.ts", "sub/__pycache__/deep.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return Recipe("ppm/api", tmp_path / "Dockerfile", {"PYTHON_IMAGE": "python:3.13"}, tmp_path, ["sha256:1"])


def _rename(folder: Path) -> None:
    (folder / "main.py").rename(folder / "sub" / "main.py")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "Dockerfile").write_text("other"),
        lambda folder: (folder / "sub/deep.py").write_text("other"),
        lambda folder: (folder / "sub/ui/page.ts").write_text("other"),
        lambda folder: (folder / "new.py").write_text(""),
        lambda folder: (folder / "main.py").chmod(0o755),
        lambda folder: (folder / "main.py").unlink(),
        _rename,
    ],
    ids=["dockerfile", "file", "ignored-elsewhere", "new", "executable", "gone", "moved"],
)
def test_what_is_built_from_anything_else_has_another_reference(
    recipe: Recipe, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    before = recipe.reference

    change(tmp_path)

    assert recipe.reference != before


@pytest.mark.parametrize(
    "changed",
    [{"arguments": {"PYTHON_IMAGE": "python:3.14"}}, {"bases": ["sha256:2"]}, {"tag": "ppm/other"}],
    ids=["argument", "base", "tag"],
)
def test_what_is_built_with_anything_else_has_another_reference(recipe: Recipe, changed: dict[str, object]) -> None:
    assert replace(recipe, **changed).reference != recipe.reference  # type: ignore[arg-type]


def test_what_no_build_copies_does_not_count(recipe: Recipe, tmp_path: Path) -> None:
    before = recipe.reference

    (tmp_path / "ui/page.ts").write_text("other")
    (tmp_path / "sub/__pycache__/deep.pyc").write_text("other")
    (tmp_path / "sub/deep.pyc").write_text("other")

    assert recipe.reference == before


def test_of_a_link_it_counts_where_it_leads(recipe: Recipe, tmp_path: Path) -> None:
    before = recipe.reference
    (tmp_path / ".#main.py").symlink_to("me@here.1")  # as Emacs does, to nowhere
    (tmp_path / "more").symlink_to("sub")
    linked = recipe.reference

    (tmp_path / "more").unlink()
    (tmp_path / "more").symlink_to("ui")

    assert len({before, linked, recipe.reference}) == 3


def test_what_is_copied_again_after_it_was_left_out_counts(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("*.txt\n!keep.txt\n")
    (tmp_path / "keep.txt").write_text("one")
    (tmp_path / "gone.txt").write_text("one")
    before = recipe.reference

    (tmp_path / "gone.txt").write_text("other")
    assert recipe.reference == before
    (tmp_path / "keep.txt").write_text("other")
    assert recipe.reference != before


def test_a_dockerfile_may_have_an_ignore_file_of_its_own(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.dockerignore").write_text("*\n!main.py\n")

    assert [path.name for path in files(tmp_path, recipe.dockerfile)] == ["main.py"]


@pytest.mark.parametrize(
    ("pattern", "read"),
    [("!keep.txt", False), ("!*.txt", False), ("!ui/deep", True), ("!**/keep.txt", True), ("ui/*", False)],
)
def test_a_folder_that_is_left_out_is_read_only_where_something_in_it_may_count(pattern: str, read: bool) -> None:
    [found] = parse(pattern)

    assert found.may_keep_below("ui") is read
