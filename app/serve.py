"""Listen, and stop without losing a request.

On SIGTERM, /readyz reports unready, streams end, and every response closes its connection, so that clients connect to
another process by themselves. A moment later the port closes, open requests end, and the process exits with status 0.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app import ending, metrics, schema
from app.api import create_app
from app.api.state import State
from app.database import Database
from app.listener import let_in_the_last, listen
from app.settings import Settings
from app.signals import Signals

HOST, PORT = "0.0.0.0", 8000  # noqa: S104 - a container's own network
KEEP_ALIVE_SECONDS = 120
"""Longer than a proxy keeps an idle connection (Traefik: 90), so that it never sends into one that just closed."""
LAST_REQUEST_SECONDS = 2.0
"""How long a connected client may take to send its first request after the port has closed."""
_SWITCH_SECONDS = 0.0005
"""How long a thread may hold the GIL while others wait: a tenth of the default. A thread that writes to the database
releases and reacquires the GIL several times, and all other writers wait for it meanwhile."""
SPARE_SECONDS = 4
"""The part of the drain time that passes before and after the wait for open requests."""
log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn, except that it announces that it stops before it does, and that a signal is a normal end."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self.state = state

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal. A task that cannot be ended does not keep the process alive."""
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)
        if await ending.cancel(*asyncio.all_tasks() - {asyncio.current_task()}):
            self.state.database.close()
            ending.leave()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop; a second signal stops without waiting."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.loop.call_soon_threadsafe(self._leave)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, answer the clients that connected before, and only then disconnect those that are silent."""
        for listening in sockets or []:
            await let_in_the_last(listening)
        for server in self.servers:
            server.close()
        until = self.loop.time() + LAST_REQUEST_SECONDS
        while self._anyone_new() and self.loop.time() < until:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _anyone_new(self) -> bool:
        """Return whether a client has connected but not sent its first request yet."""
        connections = self.server_state.connections
        return any(isinstance(one, HttpToolsProtocol) and one.cycle is None for one in connections)

    def _leave(self) -> None:
        if self.state.drain.is_set():
            self.should_exit = True
            return
        log.info("stopping: no longer ready, waiting for open requests")
        self.state.drain.set()
        ending.leave_within(self.state.settings.drain_seconds + self.state.settings.leave_seconds)
        self.loop.call_later(self.state.settings.leave_seconds, setattr, self, "should_exit", True)


def serve(settings: Settings, database: Database) -> None:
    """Serve the API until SIGTERM or SIGINT. Listen as soon as this release can run on the database."""
    metrics.watch(database, settings.ppm_release)
    signals = Signals()
    app = create_app(settings, database)  # before the wait, because users may be waiting for it to end
    if not schema.await_fit(database, signals.told):
        return
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # objects from startup are permanent: searching them for garbage stops every request for 70 ms
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=HttpToolsProtocol,
        log_config=None,
        access_log=False,  # app/api/observe.py writes one
        server_header=False,
        proxy_headers=False,  # app/api/client.py reads them
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, settings.drain_seconds - SPARE_SECONDS),
    )
    Server(config, app.state.ppm).run([listen(HOST, PORT)])
    database.close()
