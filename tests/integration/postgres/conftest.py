"""The application's own tests once more, on Postgres: a server in a container, a database for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from python_on_whales import DockerClient

from app import migrate
from app.database import Database
from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_debian
from ppmkit.images.recipe import Recipe, build
from tests.integration.conftest import address
from tests.support.waiting import eventually
from tests.unit.app.conftest import (  # noqa: F401 - what those tests have; all but their databases
    anonymous,
    application,
    client,
    drain,
    portal,
    revisions,
    settings,
)

HERE = Path(__file__).parent
MIGRATED = "migrated"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is about SQLite."""
    items[:] = [item for item in items if not (HERE in item.path.parents and item.get_closest_marker("sqlite"))]


@dataclass(frozen=True)
class Server:
    """A server, as its administrator."""

    address: str
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@{self.address}/{name}"

    def do(self, statement: str) -> None:
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute(statement.encode())

    def answers(self) -> bool:
        try:
            self.do("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    @contextmanager
    def database(self, template: str) -> Iterator[Database]:
        """Yield a new database that has what the template has."""
        name = f"test_{next(self._numbers)}"
        self.do(f"CREATE DATABASE {name} TEMPLATE {template}")
        with closing(Database(self.url(name))) as database:
            yield database
        self.do(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres(docker: DockerClient) -> Iterator[Server]:
    debian = ensure_debian(Images(bases="local"), docker, print)
    image = build(docker, Recipe("ppm-test/postgres", HERE / "Dockerfile", {"DEBIAN_IMAGE": debian}), print)
    container = docker.run(image, detach=True, cap_drop=["ALL"], init=True, memory="512m")
    try:
        container.reload()
        server = Server(address(container))
        assert eventually(server.answers, 30), container.logs()
        server.do(f"CREATE DATABASE {MIGRATED}")
        with closing(Database(server.url(MIGRATED))) as database:
            migrate.migrate(database)
        yield server
    finally:
        docker.remove(container, force=True, volumes=True)


@pytest.fixture
def empty(postgres: Server) -> Iterator[Database]:
    with postgres.database("template1") as database:
        yield database


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    with postgres.database(MIGRATED) as database:
        yield database
