"""A stream of events: the state of the whole, every second. The database is read once for all streams."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse

from app import ending
from app.api.client import client_of
from app.api.state import State
from app.api.system import look, public
from app.api.tokens import OPTIONAL, Known

router = APIRouter(prefix="/api/events", tags=["system"])
log = logging.getLogger(__name__)
INTERVAL = 1.0
RECONNECT_MILLISECONDS = 500
MOST = 500
"""Streams at once, of one replica: 29 MiB."""
MOST_OF_CLIENT = 50
"""Of these from one address; an office has one."""
LONGEST_SECONDS = 900.0
"""A stream then ends and its client opens another: so a token that was revoked does not read on for ever."""
RETRY_AFTER = {"Retry-After": "30"}


@dataclass(eq=False)
class Listener:
    """The other end of a stream."""

    client: str
    """Its address."""
    full: bool
    """Whether it gets the state of the whole, or what is public of it."""
    mailbox: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(maxsize=2))

    def send(self, event: str | None) -> None:
        """Put an event into the mailbox; None is the end."""
        if self.mailbox.full():  # a client that reads too slowly misses an event, and does not hold up the others
            self.mailbox.get_nowait()
        with suppress(asyncio.QueueFull):
            self.mailbox.put_nowait(event)


@dataclass(frozen=True)
class News:
    """The state at one moment, as an event for each sort of listener."""

    full: str
    public: str

    def to(self, listener: Listener) -> str:
        """Return what a listener may read."""
        return self.full if listener.full else self.public


class Hub:
    """Reads the state while anyone listens, and hands it to all of them."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.listeners: set[Listener] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Hub]:
        """Publish for as long as the block lasts, or until the process drains."""
        tasks = [
            asyncio.create_task(self._publish(), name="events"),
            asyncio.create_task(self._end_at_drain(), name="end of events"),
        ]
        try:
            yield self
        finally:
            await ending.cancel(*tasks)

    @asynccontextmanager
    async def listening(self, client: str, *, full: bool) -> AsyncIterator[Listener]:
        """Yield a listener, which gets events until the end of the block. Raises HTTPException (429) when
        there are too many, of this client or of all."""
        if len(self.listeners) >= MOST:
            raise HTTPException(429, f"{MOST} streams of events are open, as many as may be", RETRY_AFTER)
        if sum(listener.client == client for listener in self.listeners) >= MOST_OF_CLIENT:
            raise HTTPException(429, f"{MOST_OF_CLIENT} streams of events are open from this address", RETRY_AFTER)
        listener = Listener(client, full)
        self.listeners.add(listener)
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    async def stream(self, listener: Listener) -> AsyncIterator[str]:
        """Yield events until the process drains; a client comes back by itself, to another process."""
        until = time.monotonic() + LONGEST_SECONDS
        yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
        if (news := await self._read()) is not None:
            yield news.to(listener)
        while not self.state.drain.is_set() and time.monotonic() < until:
            if (event := await listener.mailbox.get()) is None:
                return
            yield event

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            if self.listeners and (news := await self._read()) is not None:
                for listener in self.listeners:
                    listener.send(news.to(listener))

    async def _end_at_drain(self) -> None:
        await self.state.drain.wait()
        for listener in self.listeners:
            listener.send(None)

    async def _read(self) -> News | None:
        try:
            system = await to_thread.run_sync(look, self.state)
        except SQLAlchemyError as error:
            log.warning("no event: %s", error)
            return None
        return News(*(f"event: system\ndata: {of.model_dump_json()}\n\n" for of in (system, public(self.state))))


async def _listener(request: Request, caller: Known) -> AsyncIterator[Listener]:
    hub: Hub = request.app.state.hub
    client = client_of(request, hub.state.settings.trusted_proxies)
    async with hub.listening(client, full=caller is not None) as listener:
        yield listener


@router.get("", response_class=StreamingResponse, openapi_extra=OPTIONAL)
async def events(request: Request, listener: Annotated[Listener, Depends(_listener)]) -> StreamingResponse:
    """Stream `system` events (Server-Sent Events), each with what GET /api/system returns."""
    hub: Hub = request.app.state.hub
    return StreamingResponse(
        hub.stream(listener),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
