"""A lab for the tests, started by pytest-docker: two servers, other ports than the user's own lab.

A conftest imports every name of ``__all__``; a test then asks for ``lab``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.config import Images
from deploy.engine import local_docker
from deploy.lab import Lab
from deploy.lab.hosts import observed, prepare
from deploy.lab.login import settle
from deploy.lab.model import wanted

if TYPE_CHECKING:
    from pytest_docker.plugin import Services

__all__ = [
    "docker_cleanup",
    "docker_compose_file",
    "docker_compose_project_name",
    "docker_setup",
    "lab",
    "prepared_lab",
]

NAME, HOSTS, OFFSET = "test", 2, 100


@pytest.fixture(scope="session")
def prepared_lab() -> Lab:
    """The lab with its image, key and Compose file, not started."""
    asked = wanted(NAME, HOSTS, OFFSET)
    prepare(local_docker(), asked, Images(), print)
    return asked


@pytest.fixture(scope="session")
def docker_compose_file(prepared_lab: Lab) -> str:
    return str(prepared_lab.compose_file)


@pytest.fixture(scope="session")
def docker_compose_project_name(prepared_lab: Lab) -> str:
    return prepared_lab.project


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    """A failed or killed run leaves containers behind: they go first."""
    return ["down --volumes --timeout 3", "up --wait"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["down --volumes --timeout 3"]


@pytest.fixture(scope="session")
def lab(prepared_lab: Lab, docker_services: Services) -> Lab:  # noqa: ARG001 (it is what starts them)
    """Two running servers that take logins; nothing is installed on them. Tests share them."""
    docker = local_docker()
    settle(docker, prepared_lab)
    return observed(docker, prepared_lab)
