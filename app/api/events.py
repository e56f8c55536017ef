"""A stream of events: the system state, every second. One read of the database serves all streams."""

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
"""Maximum number of open streams per replica: 29 MiB of memory."""
MOST_OF_CLIENT = 50
"""Maximum number of these per client address; a whole office may share one address."""
LONGEST_SECONDS = 900.0
"""Maximum duration of a stream. Its client then opens another one, so a revoked token does not keep reading."""
RETRY_AFTER = {"Retry-After": "30"}


@dataclass(eq=False)
class Listener:
    """The receiving side of a stream."""

    client: str
    """The client's address."""
    full: bool
    """Whether it receives the full system state, or only its public part."""
    mailbox: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(maxsize=2))

    def send(self, event: str | None) -> None:
        """Put an event into the mailbox; None ends the stream."""
        if self.mailbox.full():  # a client that reads too slowly misses an event, and does not delay the others
            self.mailbox.get_nowait()
        with suppress(asyncio.QueueFull):
            self.mailbox.put_nowait(event)


@dataclass(frozen=True)
class News:
    """The state at one moment, as one event per kind of listener."""

    full: str
    public: str

    def to(self, listener: Listener) -> str:
        """Return the event that a listener may read."""
        return self.full if listener.full else self.public


class Hub:
    """Reads the state while there are listeners, and sends it to all of them."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.listeners: set[Listener] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Hub]:
        """Publish until the block ends or the process drains."""
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
        """Yield a listener that receives events until the block ends. Raises HTTPException (429) when too many
        streams are open, from this client or in total."""
        if len(self.listeners) >= MOST:
            raise HTTPException(429, f"the limit of {MOST} open event streams is reached", RETRY_AFTER)
        if sum(listener.client == client for listener in self.listeners) >= MOST_OF_CLIENT:
            detail = f"the limit of {MOST_OF_CLIENT} open event streams per address is reached"
            raise HTTPException(429, detail, RETRY_AFTER)
        listener = Listener(client, full)
        self.listeners.add(listener)
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    async def stream(self, listener: Listener) -> AsyncIterator[str]:
        """Yield events until the process drains; the client then reconnects by itself, to another process."""
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
            log.warning("cannot read the system state: %s", error)
            return None
        return News(*(f"event: system\ndata: {out.model_dump_json()}\n\n" for out in (system, public(self.state))))


async def _listener(request: Request, caller: Known) -> AsyncIterator[Listener]:
    hub: Hub = request.app.state.hub
    client = client_of(request, hub.state.settings.trusted_proxies)
    async with hub.listening(client, full=caller is not None) as listener:
        yield listener


@router.get("", response_class=StreamingResponse, openapi_extra=OPTIONAL)
async def events(request: Request, listener: Annotated[Listener, Depends(_listener)]) -> StreamingResponse:
    """Stream `system` events (Server-Sent Events). Each holds what GET /api/system returns."""
    hub: Hub = request.app.state.hub
    return StreamingResponse(
        hub.stream(listener),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
