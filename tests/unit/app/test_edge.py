"""Headers of every response."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from anyio.from_thread import BlockingPortal
from fastapi import FastAPI
from httpx import Client

from app.api import create_app, edge
from app.api.events import Hub
from app.database import Database
from app.settings import Settings
from tests.support.processes import threads
from tests.unit.app.conftest import RELEASE, InLoop, until


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/api/system", 200),
        ("/api/docs", 307),
        ("/api/openapi.json", 200),
        ("/api/projects", 401),
        ("/nowhere", 404),
    ],
)
def test_every_response_names_the_release(anonymous: Client, path: str, status: int) -> None:
    answer = anonymous.get(path)

    assert (answer.status_code, answer.headers["X-PPM-Release"]) == (status, RELEASE)
    assert "Connection" not in answer.headers


def test_no_answer_is_kept(client: Client, anonymous: Client) -> None:
    made = client.post("/api/tokens", json={"name": "ci"})
    answers = [made, *(client.get(path) for path in ("/api/projects", "/api/me", "/api/system", "/statusz"))]
    del anonymous.headers["Authorization"]
    answers += [anonymous.get(path) for path in ("/api/projects", "/api/login", "/api/login/callback", "/nowhere")]

    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_what_cannot_be_taken_is_refused_at_once_and_the_rest_is_answered(
    application: FastAPI, portal: BlockingPortal, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MOST_REQUESTS", 2)
    hub: Hub = application.state.hub

    def open_stream() -> None:
        with Client(transport=InLoop(application, portal), base_url="http://ppm", timeout=60) as client:
            client.get("/api/events")

    with threads() as pool:
        pool.submit(open_stream)
        until(lambda: len(hub.listeners) == 1)
        assert anonymous.get("/healthz").status_code == 200
        pool.submit(open_stream)
        until(lambda: len(hub.listeners) == 2)
        full = anonymous.get("/healthz")
        portal.call(application.state.ppm.drain.set)

    assert (full.status_code, full.headers["Retry-After"]) == (429, "1")
    assert (full.headers["X-PPM-Release"], full.headers["Cache-Control"]) == (RELEASE, "no-store")
    assert anonymous.get("/healthz").status_code == 200


def test_a_crash_names_the_release_and_gives_nothing_away(client: Client, database: Database) -> None:
    client.post("/api/projects", json={"url": "https://git.example.org/tool"})
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE projects SET created_at = 'no date'")

    answer = client.get("/api/projects")

    assert (answer.status_code, answer.headers["X-PPM-Release"]) == (500, RELEASE)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "no date" not in answer.text
    assert answer.headers["Connection"] == "close", "the proxy would send another request into what the server closes"


def test_a_database_that_lacks_its_tables_is_no_crash(client: Client, database: Database) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql("ALTER TABLE projects RENAME TO elsewhere")

    answer = client.post("/api/projects", json={"url": "https://git.example.org/tool"})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_while_it_drains_every_response_asks_the_client_to_leave(anonymous: Client, drain: Callable[[], None]) -> None:
    drain()

    for path in ("/healthz", "/readyz", "/api/projects", "/nowhere"):
        assert anonymous.get(path).headers["Connection"] == "close"


def test_another_origin_may_call_only_when_it_is_named(
    settings: Settings, database: Database, portal: BlockingPortal
) -> None:
    allowed = settings.model_copy(update={"cors_origin": "https://page.example.org"})
    for given, expected in ((settings, None), (allowed, "https://page.example.org")):
        with Client(transport=InLoop(create_app(given, database), portal), base_url="http://ppm") as client:
            answer = client.get("/healthz", headers={"Origin": "https://page.example.org"})
        assert answer.headers.get("Access-Control-Allow-Origin") == expected
