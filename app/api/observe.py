"""Every request is counted, timed and logged, with an id that its log lines and its answer have in common."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app.metrics import IN_FLIGHT, LATENCY, REQUESTS

router = APIRouter(tags=["metrics"], include_in_schema=False)
log = logging.getLogger("app.access")
ID = "x-request-id"
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other word may stand there, too: each would be a series of its own for ever."""
QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/statusz"})
"""Asked by machines every few seconds: they are counted, and logged only when something is wrong."""


class Observe:
    """The layer around everything. Plain ASGI, so that streams stay streams."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        id = request_id(Headers(scope=scope))
        answer: dict[str, Any] = {"status": 500}

        async def send_and_watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.update(status=message["status"], seconds=time.perf_counter() - began)
                message["headers"] = [*message.get("headers", ()), (ID.encode(), id.encode())]
            await send(message)

        IN_FLIGHT.inc()
        try:
            with bound_contextvars(request_id=id):
                await self.app(scope, receive, send_and_watch)
        finally:
            IN_FLIGHT.dec()
            _note(scope, id, answer["status"], answer.get("seconds"), time.perf_counter() - began)


def request_id(headers: Headers) -> str:
    """Return the id that whoever sent the request gave it, if it is one, or else a new one."""
    given = headers.get(ID, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def _note(scope: Scope, id: str, status: int, answered: float | None, took: float) -> None:
    """Count and log a request. By its route: paths are without number. Without its query, which may hold secrets."""
    route = getattr(scope.get("route"), "path", "unmatched")
    REQUESTS.labels(scope["method"] if scope["method"] in METHODS else "other", route, status).inc()
    if answered is not None:
        LATENCY.labels(route).observe(answered)
    if route not in QUIET or status >= 500:
        about = {"method": scope["method"], "path": scope["path"], "status": status, "seconds": round(took, 4)}
        log.info("request", extra={**about, "route": route, "request_id": id})


@router.get("/metrics")
def metrics() -> Response:
    """Return what was counted, for Prometheus. The proxy sends nobody here."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
