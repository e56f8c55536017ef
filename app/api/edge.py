"""The outermost layer: headers of every response, errors too. Plain ASGI, so that streams stay streams.

It also bounds how many requests are open: one more is refused at once, so that the others are answered.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems

MOST_REQUESTS = 3000
"""At once, streams among them: more than a hold keeps back, and 92 MiB."""


class Edge:
    """Names the release on every response, lets no cache keep it unless it says so, and asks clients to leave while
    the process drains."""

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
# Clients cause it, so it is no 5xx: users' requests judge a release (docs/decisions/0010).
_FULL = problems.answer(429, f"{MOST_REQUESTS} requests are open, as many as may be; try again", {"Retry-After": "1"})
