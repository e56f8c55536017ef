"""The docs say what the code does: generated pages are fresh, links lead somewhere, commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from docs.generate import pages
from ppmkit.cli.app import app
from ppmkit.paths import KIT

PAGES = [KIT / "README.md", *sorted((KIT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("file", pages(), ids=lambda file: file.name)
def test_a_page_that_follows_from_the_code_is_up_to_date(file: Path) -> None:
    assert file.read_text() == pages()[file], "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_docs_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_ppmctl_command_in_the_docs_exists(page: Path) -> None:
    commands = typer.main.get_command(app)
    for line in re.findall(r"(?:^\$ |`)ppmctl ([a-z][a-z -]*)", page.read_text(), re.MULTILINE):
        known = commands
        for word in line.split():
            if word.startswith("-") or not hasattr(known, "commands"):
                break
            assert word in known.commands, f"{page.name}: ppmctl {line}"
            known = known.commands[word]


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    named = set(re.findall(r"`(?:tests/[a-z/0-9]*/)?(test_\w+\.py)", (KIT / "docs" / "security.md").read_text()))
    paths = re.findall(r"`(tests/\S+\.py)", (KIT / "docs" / "security.md").read_text())

    assert len(named) > 10
    assert named <= {file.name for file in (KIT / "tests").rglob("test_*.py")}
    assert [path for path in paths if not (KIT / path).is_file()] == []


def test_the_readme_lists_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (KIT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z]+)", (KIT / "README.md").read_text())) <= targets
