"""The outermost layer: headers of every response, errors too. Plain ASGI, so that streams stay streams."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Edge:
    """Names the release on every response, and asks clients to leave while the process drains."""

    def __init__(self, app: ASGIApp, release: str, drain: asyncio.Event) -> None:
        self.app, self.drain = app, drain
        self.release = (b"x-ppm-release", release.encode("latin-1"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self.release]
                if self.drain.is_set():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        await self.app(scope, receive, send_with_headers)
