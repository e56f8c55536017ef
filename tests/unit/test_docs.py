"""The docs say what the code does: generated pages are fresh, links lead somewhere, commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

import ppmctl
from deploy.configfile import ROOT
from docs.generate import pages

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("file", pages(), ids=lambda file: file.name)
def test_a_page_that_follows_from_the_code_is_up_to_date(file: Path) -> None:
    assert file.read_text() == pages()[file], "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_docs_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_ppmctl_command_in_the_docs_exists(page: Path) -> None:
    commands = typer.main.get_command(ppmctl.app)
    for line in re.findall(r"(?:^\$ |`)ppmctl ([a-z][a-z -]*)", page.read_text(), re.MULTILINE):
        known = commands
        for word in line.split():
            if word.startswith("-") or not hasattr(known, "commands"):
                break
            assert word in known.commands, f"{page.name}: ppmctl {line}"
            known = known.commands[word]


def test_the_readme_lists_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text())) <= targets
