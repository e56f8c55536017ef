"""The stream of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from anyio.from_thread import BlockingPortal
from fastapi import FastAPI
from httpx import Client

from app.api.events import Hub
from app.database import Database
from app.models import Project
from app.worker.heartbeat import Heartbeat
from app.worker.lease import Leases
from tests.unit.app.conftest import HEAD, RELEASE, until


def open_stream(application: FastAPI, portal: BlockingPortal) -> Callable[[], str | None]:
    """Open a stream; return what gives its next part, or None at its end."""
    stream = application.state.hub.stream()

    async def following() -> str | None:
        return await anext(stream, None)

    return lambda: portal.call(following)


def system(event: str | None) -> dict[str, object]:
    assert event is not None
    kind, data, *rest = event.split("\n")
    assert (kind, rest) == ("event: system", ["", ""])
    found: dict[str, object] = json.loads(data.removeprefix("data: "))
    return found


def test_the_stream_begins_with_the_state_of_the_whole(application: FastAPI, portal: BlockingPortal) -> None:
    following = open_stream(application, portal)

    assert following() == "retry: 500\n\n"
    first = system(following())
    assert (first["release"], first["projects"], first["worker"]) == (RELEASE, 0, None)
    assert first["database"] == {"revision": HEAD, "head": HEAD}


def test_the_stream_says_what_has_changed(application: FastAPI, portal: BlockingPortal, database: Database) -> None:
    following = open_stream(application, portal)
    following(), following()

    with database.write() as session:
        session.add(Project(name="new", url="https://git.example.org/new"))
    Heartbeat(Leases(database, "worker-1"), "the worker's release").beat()

    event = system(following())
    assert event["projects"] == 1
    assert isinstance(event["worker"], dict)
    assert (event["worker"]["name"], event["worker"]["alive"]) == ("worker-1", True)


def test_every_stream_ends_when_the_process_drains(
    application: FastAPI, portal: BlockingPortal, drain: Callable[[], None]
) -> None:
    streams = [open_stream(application, portal) for _ in range(3)]
    for following in streams:
        following(), following()

    drain()

    for following in streams:
        until(lambda following=following: following() is None)


def test_a_stream_over_http_ends_whole(application: FastAPI, anonymous: Client, drain: Callable[[], None]) -> None:
    hub: Hub = application.state.hub
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(anonymous.get, "/api/events")
        until(lambda: bool(hub.listeners))
        drain()
        answer = sent.result(5)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.text.startswith("retry: 500\n\nevent: system\ndata: {")
    assert answer.text.endswith("}\n\n")
    assert not hub.listeners


def test_a_listener_that_reads_too_slowly_misses_events_and_still_learns_of_the_end(
    application: FastAPI, portal: BlockingPortal, drain: Callable[[], None]
) -> None:
    hub: Hub = application.state.hub
    slow = open_stream(application, portal)
    slow(), slow()
    for number in range(10):
        portal.call(hub._send, f"event {number}")

    drain()

    until(lambda: slow() is None)
