"""Probe a proxy: responses of a release, and the application's report on itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from ppmkit.host.host import Host

_POLL = 0.1

RELEASE_HEADER = "X-PPM-Release"

_SYSTEM = "/statusz"


def poll(host: Host, check: Callable[[], str | None], timeout: float) -> str | None:
    """Repeat a check until it returns None, for ``timeout`` seconds; return None, or the last problem."""
    deadline = time.monotonic() + timeout
    while (last := check()) and time.monotonic() < deadline:
        host.rest(_POLL)
    return last


def answer(client: httpx.Client, path: str, release: str, timeout: float = 5) -> str | None:
    """Request a path; return None for a 200 of this release, else a description of the response."""
    import httpx

    try:
        answer = client.get(path, timeout=timeout)
    except httpx.HTTPError as error:
        return f"GET {path}: {type(error).__name__}: {error}"
    got = answer.headers.get(RELEASE_HEADER)
    if answer.status_code == 200 and got == release:
        return None
    return f"GET {path}: status {answer.status_code}, {RELEASE_HEADER}: {got}, body: {answer.text[:500].strip()}"


def silent(host: Host) -> str | None:
    """Ping the proxy; return None, or a description of what came instead."""
    import httpx

    try:
        answer = host.internal.get("/ping")
    except httpx.HTTPError as error:
        return f"GET /ping: {type(error).__name__}: {error}"
    return None if answer.status_code == 200 else f"GET /ping: status {answer.status_code}"


def schema_revision(host: Host) -> str | None:
    """Return the database's revision as the running api reports it; None if no api answers."""
    import httpx

    try:
        revision: str | None = _system(host)["database"]["revision"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
    return revision


def confirm_worker(host: Host, release: str, since: datetime, timeout: float, *, working: bool) -> str | None:
    """Wait until the api reports a live worker of this release that started after ``since``; return None, or the last
    problem. With ``working`` it must also have taken over: it holds a lease, so it is not on standby.
    """
    import httpx

    def check() -> str | None:
        try:
            workers = _system(host)["workers"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            return f"GET {_SYSTEM}: {type(error).__name__}: {error}"
        for worker in workers:
            ours = worker["release"] == release and datetime.fromisoformat(worker["since"]) >= since
            if ours and not (working and worker["standby"]):
                return None
        live = [f"{w['name']} of release {w['release']}{' on standby' if w['standby'] else ''}" for w in workers]
        return f"GET {_SYSTEM}: the live workers are: {', '.join(live) or 'none'}"

    return poll(host, check, timeout)


def _system(host: Host) -> Any:
    """Return the api's report on itself, which only the host may read. Raises httpx.HTTPError or ValueError.

    An older release publishes it at another path. There, this path answers 404, or with the page if the routes are old.
    """
    answer = host.internal.get(_SYSTEM)
    if answer.status_code == 404 or answer.headers.get("Content-Type", "").startswith("text/html"):
        answer = host.internal.get("/api/system")
    return answer.raise_for_status().json()
