"""Counts, times and logs every request, with an id that its log lines and its response share."""

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
"""A request may name any other method, too: each would become a separate, permanent time series."""
QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/statusz"})
"""Polled by machines every few seconds: counted, but logged only when the response is an error (5xx)."""


class Observe:
    """Middleware around the whole application. Plain ASGI, so that streams stay streams."""

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
    """Return the id that the sender gave the request if it is valid, else a new one."""
    given = headers.get(ID, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def _note(scope: Scope, id: str, status: int, answered: float | None, took: float) -> None:
    """Count a request by its route, because the number of paths is unlimited. Log it without its query, which may hold
    secrets."""
    route = getattr(scope.get("route"), "path", "unmatched")
    REQUESTS.labels(scope["method"] if scope["method"] in METHODS else "other", route, status).inc()
    if answered is not None:
        LATENCY.labels(route).observe(answered)
    if route not in QUIET or status >= 500:
        about = {"method": scope["method"], "path": scope["path"], "status": status, "seconds": round(took, 4)}
        log.info("request", extra={**about, "route": route, "request_id": id})


@router.get("/metrics")
def metrics() -> Response:
    """Return the metrics for Prometheus. The proxy has no route to this path."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
