"""Sites on real servers. `live` is deployed once and shared; whoever changes it leaves it serving."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.configfile import ROOT
from deploy.lab import Lab
from tests.lab.labs import (
    docker_cleanup,
    docker_compose_file,
    docker_compose_project_name,
    docker_setup,
    lab,
    prepared_lab,
)
from tests.site import Site

__all__ = [
    "docker_cleanup",
    "docker_compose_file",
    "docker_compose_project_name",
    "docker_setup",
    "lab",
    "prepared_lab",
]


@pytest.fixture(scope="session")
def live(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that serves."""
    site = Site("live", lab, 1, tmp_path_factory.mktemp("live"))
    site.provision()
    site.ppmctl("deploy")
    return site


@pytest.fixture(scope="session")
def bare(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A provisioned host on which nothing is deployed, for what must stop a deploy before it begins."""
    site = Site("bare", lab, 2, tmp_path_factory.mktemp("bare"))
    site.provision()
    return site


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of this checkout, to change the application's code in."""
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", "node_modules", ".*_cache", "__pycache__", ".ppmctl", "secrets")
    shutil.copytree(ROOT, copy, ignore=ignored)
    yield copy
    shutil.rmtree(copy)
