"""A stream of events: the state of the whole, every second. The database is read once for all streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from anyio import to_thread
from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import StreamingResponse

from app.api.state import State
from app.api.system import look

router = APIRouter(prefix="/api/events", tags=["system"])
log = logging.getLogger(__name__)
INTERVAL = 1.0
RECONNECT_MILLISECONDS = 500


class Hub:
    """Reads the state while anyone listens, and hands it to all of them."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.listeners: set[asyncio.Queue[str | None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Hub]:
        """Publish for as long as the block lasts, or until the process drains."""
        tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._end_at_drain())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stream(self) -> AsyncIterator[str]:
        """Yield events until the process drains; a client comes back by itself, to another process."""
        yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
        mailbox: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2)
        self.listeners.add(mailbox)
        try:
            if (event := await self._read()) is not None:
                yield event
            while not self.state.drain.is_set() and (event := await mailbox.get()) is not None:
                yield event
        finally:
            self.listeners.discard(mailbox)

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            if self.listeners and (event := await self._read()) is not None:
                self._send(event)

    async def _end_at_drain(self) -> None:
        await self.state.drain.wait()
        self._send(None)

    def _send(self, event: str | None) -> None:
        for mailbox in self.listeners:
            if mailbox.full():  # a client that reads too slowly misses an event, and holds up nobody
                mailbox.get_nowait()
            with suppress(asyncio.QueueFull):
                mailbox.put_nowait(event)

    async def _read(self) -> str | None:
        try:
            system = await to_thread.run_sync(look, self.state)
        except SQLAlchemyError as error:
            log.warning("no event: %s", error)
            return None
        return f"event: system\ndata: {system.model_dump_json()}\n\n"


@router.get("", response_class=StreamingResponse)
async def events(request: Request) -> StreamingResponse:
    """Stream `system` events (Server-Sent Events)."""
    hub: Hub = request.app.state.hub
    return StreamingResponse(
        hub.stream(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
