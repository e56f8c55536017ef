"""What the application tells its host alone, by releases and routes of now and of before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ppmkit.proxy import probe

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
WORKER = {"name": "w", "release": "r1", "since": SINCE.isoformat(), "standby": False}
STATE = {"release": "r1", "database": {"revision": "0007"}, "workers": [WORKER]}
PUBLIC = {"release": "r1", "login": True}
Answers = dict[str, tuple[int, str, Any]]
NOW: Answers = {"/statusz": (200, "application/json", STATE), "/api/system": (200, "application/json", PUBLIC)}
BEFORE: Answers = {
    "/statusz": (404, "application/problem+json", {"status": 404}),
    "/api/system": (200, "application/json", STATE),
}
OLD_ROUTES: Answers = {"/statusz": (200, "text/html; charset=utf-8", "the page"), "/api/system": BEFORE["/api/system"]}
BUSY: Answers = {"/statusz": (503, "application/problem+json", {"status": 503})}


@contextmanager
def host(answers: Answers) -> Iterator[Any]:
    """A host, of which nothing is there but the proxy's entry point on the loopback."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with httpx.Client(base_url=url, trust_env=False) as client:
            yield SimpleNamespace(internal=client, rest=lambda _: None)
        server.shutdown()


@pytest.mark.parametrize("answers", [NOW, BEFORE, OLD_ROUTES], ids=["now", "an older release", "older routes"])
def test_the_revision_and_the_workers_are_read_from_releases_of_now_and_of_before(answers: Answers) -> None:
    with host(answers) as there:
        assert probe.schema_revision(there) == "0007"
        assert probe.confirm_worker(there, "r1", SINCE, 0, working=True) is None


def test_an_api_that_does_not_tell_is_named_with_what_it_answers() -> None:
    with host(BUSY) as there:
        assert probe.schema_revision(there) is None
        said = probe.confirm_worker(there, "r1", SINCE, 0, working=False)

    assert said is not None
    assert said.startswith("GET /statusz: HTTPStatusError: Server error '503 Service Unavailable'")
