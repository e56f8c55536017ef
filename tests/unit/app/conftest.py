"""A real SQLite file for each test, with every migration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from httpx import ASGITransport, BaseTransport, Client, Request, Response

from app import migrate, schema, tokens
from app.api import create_app
from app.api.state import State
from app.database import Database
from app.scope import Scope
from app.settings import Settings
from tests.support.waiting import eventually

RELEASE = "0a1b2c3d4e5f"
SHIPPED = list(schema.revisions())
HEAD = SHIPPED[-1]
"""The newest revision of this checkout."""
NEXT, NEXT_BUT_ONE = f"{int(HEAD) + 1:04}", f"{int(HEAD) + 2:04}"
"""Those that a test adds."""


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    assert eventually(condition, seconds), f"waited {seconds} s in vain"


class InLoop(BaseTransport):
    """Hands requests to the application. A crash is an answer here, as it is for a browser."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self.portal, self.asgi = portal, ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: Request) -> Response:
        request.read()
        return self.portal.call(self._handle, request)

    async def _handle(self, request: Request) -> Response:
        response = await self.asgi.handle_async_request(request)
        return Response(response.status_code, headers=response.headers, content=await response.aread())


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ppm.db'}")
    yield database
    database.close()


@pytest.fixture
def database(empty: Database) -> Database:
    migrate.migrate(empty)
    return empty


@pytest.fixture
def settings(database: Database) -> Settings:
    return Settings(app_env="test", database_url=str(database.url), ppm_release=RELEASE)


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    """The event loop that the application runs in."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def application(settings: Settings, database: Database, portal: BlockingPortal) -> Iterator[FastAPI]:
    app = create_app(settings, database)
    with portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        yield app


@pytest.fixture
def anonymous(application: FastAPI, portal: BlockingPortal) -> Iterator[Client]:
    """A client without a token."""
    with Client(transport=InLoop(application, portal), base_url="http://ppm") as client:
        yield client


@pytest.fixture
def client(anonymous: Client, database: Database) -> Client:
    anonymous.headers["Authorization"] = f"Bearer {tokens.create(database, 'test', Scope.ADMIN)[0]}"
    return anonymous


@pytest.fixture
def drain(application: FastAPI, portal: BlockingPortal) -> Callable[[], None]:
    """Make the application leave, as SIGTERM does."""
    state: State = application.state.ppm
    return lambda: portal.call(state.drain.set)


@pytest.fixture
def revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make this process a release with further revisions, each given as the lines of its module."""
    made = 0

    def become(*bodies: str) -> None:
        nonlocal made
        made += 1
        folder = tmp_path / f"migrations-{made}"
        (folder / "versions").mkdir(parents=True)
        shipped = Path(schema.__file__).parent / "migrations"
        for path in (Path("env.py"), *(path.relative_to(shipped) for path in shipped.glob("versions/*.py"))):
            (folder / path).write_text((shipped / path).read_text())
        for number, body in enumerate(bodies, start=int(HEAD) + 1):
            head = f"revision, down_revision = '{number:04}', '{number - 1:04}'\n"
            text = f"'''change {number}'''\nfrom alembic import op\n{head}{body}\n"
            (folder / "versions" / f"{number:04}.py").write_text(text)
        monkeypatch.setattr(schema, "MIGRATIONS", folder)
        schema.revisions.cache_clear()

    yield become
    monkeypatch.undo()
    schema.revisions.cache_clear()
