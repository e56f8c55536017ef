"""The stream of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from anyio.from_thread import BlockingPortal
from fastapi import FastAPI
from httpx import Client

from app.api import events
from app.api.events import Hub
from app.database import Database
from app.models import Project
from app.worker.heartbeat import Heartbeat
from app.worker.lease import Leases
from tests.support.processes import threads
from tests.unit.app.conftest import HEAD, RELEASE, until
from tests.unit.app.test_projects import problem

Follow = Callable[[], str | None]
Open = Callable[..., Follow]


@pytest.fixture
def open_stream(application: FastAPI, portal: BlockingPortal) -> Iterator[Callable[..., Follow]]:
    """Open a stream; return what gives its next part, or None at its end."""
    hub: Hub = application.state.hub
    with ExitStack() as opened:

        def open(client: str = "192.0.2.1", *, full: bool = True) -> Follow:
            listener = opened.enter_context(portal.wrap_async_context_manager(hub.listening(client, full=full)))
            stream = hub.stream(listener)

            async def following() -> str | None:
                return await anext(stream, None)

            return lambda: portal.call(following)

        yield open


def system(event: str | None) -> dict[str, object]:
    assert event is not None
    kind, data, *rest = event.split("\n")
    assert (kind, rest) == ("event: system", ["", ""])
    found: dict[str, object] = json.loads(data.removeprefix("data: "))
    return found


def test_the_stream_begins_with_the_state_of_the_whole(open_stream: Open) -> None:
    following = open_stream()

    assert following() == "retry: 500\n\n"
    first = system(following())
    assert (first["release"], first["projects"], first["worker"]) == (RELEASE, 0, None)
    assert first["database"] == {"revision": HEAD, "head": HEAD}


def test_the_stream_says_what_has_changed(open_stream: Open, database: Database) -> None:
    following = open_stream()
    following(), following()

    with database.write() as session:
        session.add(Project(name="new", url="https://git.example.org/new"))
    Heartbeat(Leases(database, "worker-1"), "the worker's release").beat()

    event = system(following())
    assert event["projects"] == 1
    assert isinstance(event["worker"], dict)
    assert (event["worker"]["name"], event["worker"]["alive"]) == ("worker-1", True)


def test_every_stream_ends_when_the_process_drains(open_stream: Open, drain: Callable[[], None]) -> None:
    streams = [open_stream() for _ in range(3)]
    for following in streams:
        following(), following()

    drain()

    for following in streams:
        until(lambda following=following: following() is None)


def test_a_stream_over_http_ends_whole(application: FastAPI, anonymous: Client, drain: Callable[[], None]) -> None:
    hub: Hub = application.state.hub
    with threads() as pool:
        sent = pool.submit(anonymous.get, "/api/events")
        until(lambda: bool(hub.listeners))
        drain()
        answer = sent.result(5)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.text.startswith("retry: 500\n\nevent: system\ndata: {")
    assert answer.text.endswith("}\n\n")
    assert not hub.listeners


def test_a_listener_that_reads_too_slowly_misses_events_and_still_learns_of_the_end(
    application: FastAPI, open_stream: Open, portal: BlockingPortal, drain: Callable[[], None]
) -> None:
    hub: Hub = application.state.hub
    slow = open_stream()
    slow(), slow()
    for number in range(10):
        [listener] = hub.listeners
        portal.call(listener.send, f"event {number}")

    drain()

    until(lambda: slow() is None)


PUBLIC = {"release": RELEASE, "login": False}


def test_the_public_is_told_the_release_and_how_to_log_in(open_stream: Open, database: Database) -> None:
    following = open_stream(full=False)
    following()
    assert system(following()) == PUBLIC

    with database.write() as session:
        session.add(Project(name="new", url="https://git.example.org/new"))

    assert system(following()) == PUBLIC


def test_who_may_read_gets_all_of_it_over_http(application: FastAPI, client: Client, drain: Callable[[], None]) -> None:
    """And who has a token that is no good is told so."""
    hub: Hub = application.state.hub
    wrong = {"Authorization": "Bearer ppm_wrong"}
    assert client.get("/api/events", headers=wrong).status_code == 401
    with threads() as pool:
        sent = pool.submit(client.get, "/api/events")
        until(lambda: bool(hub.listeners))
        drain()

    assert system(sent.result(5).text.split("\n\n")[1] + "\n\n")["database"] == {"revision": HEAD, "head": HEAD}


def test_one_address_has_so_many_streams_and_all_together_have_so_many(
    application: FastAPI, open_stream: Open, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST", 5)
    monkeypatch.setattr(events, "MOST_OF_CLIENT", 3)
    for _ in range(3):
        open_stream("192.0.2.1")

    refused = anonymous.get("/api/events", headers={"X-Forwarded-For": "198.51.100.7, 192.0.2.1"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    assert problem(refused, 429)["detail"] == "the limit of 3 open event streams per address is reached"
    assert anonymous.get("/api/system", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 200

    open_stream("192.0.2.2"), open_stream("192.0.2.3")
    refused = anonymous.get("/api/events", headers={"X-Forwarded-For": "192.0.2.4"})
    assert (problem(refused, 429)["status"], refused.headers["Retry-After"]) == (429, "30")
    assert len(application.state.hub.listeners) == 5


def test_a_stream_that_has_ended_makes_room(
    application: FastAPI, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_OF_CLIENT", 1)
    monkeypatch.setattr(events, "LONGEST_SECONDS", 0.0)

    for _ in range(3):
        assert anonymous.get("/api/events").status_code == 200

    assert not application.state.hub.listeners
