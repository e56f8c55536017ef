"""A release's self-check on a copy of the database: it reads every page of the api, and writes a row.

An upgrade uses it to prove that a release runs on a schema that it has not seen. It listens only on the loopback.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import uvicorn

from app import tokens
from app.api import create_app
from app.database import Database
from app.errors import PpmError
from app.listener import listen
from app.scope import Scope
from app.settings import Settings

TIMEOUT_SECONDS = 30.0
END_SECONDS = 10
STREAMS = frozenset({"/api/events"})
"""Not read, because they never end."""


class CheckFailed(PpmError):
    """The release does not work on this database."""


def check(settings: Settings, database: Database) -> dict[str, Any]:
    """Read every page, and write, read and delete a project; return {checks: [the requests]}. Raises CheckFailed.

    It writes, so the database must be a copy.
    """
    requests: list[str] = []
    token, _ = tokens.create(database, f"check-{uuid.uuid4().hex}", Scope.ADMIN)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with _serving(settings, database) as (connection, paths):

        def ask(method: str, path: str, body: dict[str, str] | None = None) -> Any:
            requests.append(f"{method} {path}")
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            if answer.status >= 300:
                raise CheckFailed(f"{method} {path}: status {answer.status}: {text[:500]}")
            return json.loads(text) if text else None

        for path in ("/readyz", *paths):
            ask("GET", path)
        name = f"check-{uuid.uuid4().hex}"
        project = ask("POST", "/api/projects", {"name": name, "url": f"https://check.invalid/{name}.git"})
        for path in ("", "/scans"):
            ask("GET", f"/api/projects/{project['id']}{path}")
        ask("DELETE", f"/api/projects/{project['id']}")
    return {"checks": requests}


@contextmanager
def _serving(settings: Settings, database: Database) -> Iterator[tuple[HTTPConnection, list[str]]]:
    """Yield a connection to the api, without limits per caller, and the paths that can be read."""
    app = create_app(settings.model_copy(update={"rate_limit_per_minute": None}), database)
    paths = [path for path, methods in app.openapi()["paths"].items() if "get" in methods and "{" not in path]
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=END_SECONDS)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        with closing(HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=TIMEOUT_SECONDS)) as connection:
            yield connection, sorted(set(paths) - STREAMS)
    finally:
        server.should_exit = True
        thread.join(2 * END_SECONDS)
        if thread.is_alive():
            raise CheckFailed(f"the api did not stop within {2 * END_SECONDS} s")
