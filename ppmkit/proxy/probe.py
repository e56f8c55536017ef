"""Asking what a proxy serves: answers of a release, and what the application tells of itself."""

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


def poll(host: Host, seen: Callable[[], str | None], timeout: float) -> str | None:
    """Look until nothing is wrong, for so many seconds; return None, or what was seen last."""
    deadline = time.monotonic() + timeout
    while (last := seen()) and time.monotonic() < deadline:
        host.rest(_POLL)
    return last


def answer(client: httpx.Client, path: str, release: str, timeout: float = 5) -> str | None:
    """Ask for a path; return None for a 200 of this release, else what came."""
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
    """Ask the proxy for a sign of life; return None, or what came in its place."""
    import httpx

    try:
        answer = host.internal.get("/ping")
    except httpx.HTTPError as error:
        return f"GET /ping: {type(error).__name__}: {error}"
    return None if answer.status_code == 200 else f"GET /ping: status {answer.status_code}"


def schema_revision(host: Host) -> str | None:
    """Return the revision of the database as the api that runs tells it; None when none does."""
    import httpx

    try:
        revision: str | None = _system(host)["database"]["revision"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
    return revision


def confirm_worker(host: Host, release: str, since: datetime, timeout: float, *, working: bool) -> str | None:
    """Wait until the api tells of a worker of this release that began since then and lives; return None, or what
    was seen last. With ``working`` it must have taken over too: it has a lease, so it is not on standby.
    """
    import httpx

    def seen() -> str | None:
        try:
            workers = _system(host)["workers"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            return f"GET {_SYSTEM}: {type(error).__name__}: {error}"
        for worker in workers:
            ours = worker["release"] == release and datetime.fromisoformat(worker["since"]) >= since
            if ours and not (working and worker["standby"]):
                return None
        living = [f"{w['name']} of release {w['release']}{' on standby' if w['standby'] else ''}" for w in workers]
        return f"GET {_SYSTEM}: the living workers are: {', '.join(living) or 'none'}"

    return poll(host, seen, timeout)


def _system(host: Host) -> Any:
    """Return what the api tells the host alone of itself. Raises httpx.HTTPError or ValueError.

    A release of before tells it to everybody at another path; it answers 404 here, or with the page, by routes of then.
    """
    answer = host.internal.get(_SYSTEM)
    if answer.status_code == 404 or answer.headers.get("Content-Type", "").startswith("text/html"):
        answer = host.internal.get("/api/system")
    return answer.raise_for_status().json()
