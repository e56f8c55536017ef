"""Middleware that adds headers to every response, errors included. Plain ASGI, so that streams stay streams.

It also limits the number of open requests: further ones are refused at once, so that the others are answered.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems

MOST_REQUESTS = 3000
"""Maximum number of open requests, streams included: more than a hold keeps back, and 92 MiB of memory."""


class Edge:
    """Adds the release to every response, forbids caching unless the response allows it, and asks clients to disconnect
    while the process drains."""

    def __init__(self, app: ASGIApp, release: str, drain: asyncio.Event) -> None:
        self.app, self.drain = app, drain
        self.release = (b"x-ppm-release", release.encode("latin-1"))
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = [*message.get("headers", ()), self.release]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
                if self.drain.is_set():
                    headers.append((b"connection", b"close"))
            await send(message)

        app = self.app if self._open < MOST_REQUESTS else _FULL
        self._open += 1
        try:
            await app(scope, receive, send_with_headers)
        finally:
            self._open -= 1


_NO_STORE = (b"cache-control", b"no-store")
# Clients cause it, so it is not a 5xx: a release is judged by the responses to users (docs/decisions/0010).
_FULL = problems.answer(429, f"the limit of {MOST_REQUESTS} open requests is reached; try again", {"Retry-After": "1"})
