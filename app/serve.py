"""Listen, and leave without losing a request.

On SIGTERM: /readyz says no, streams end, and every response closes its connection, so that clients go
elsewhere by themselves. A moment later the port closes, open requests end, and the process exits with 0.
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
"""More than a proxy keeps an idle connection (Traefik: 90): or it would send into one that just closed."""
LAST_REQUEST_SECONDS = 2.0
"""How long a client that connected may take to send its first request, once the port has closed."""
_SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python to itself while others wait, a tenth of what is usual. Whoever writes to the
database leaves Python and comes back several times, and all other writers wait behind it meanwhile."""
SPARE_SECONDS = 4
"""Of the time to drain: what passes before open requests are waited for, and after."""
log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn, but it says that it leaves before it does, and a signal is a normal end."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self.state = state

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal. A task that cannot be ended does not keep the process."""
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)
        if await ending.cancel(*asyncio.all_tasks() - {asyncio.current_task()}):
            self.state.database.close()
            ending.leave()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to leave; a second signal does not wait for anything."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.loop.call_soon_threadsafe(self._leave)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, answer those who had come in by then, and only then hang up on whoever is silent."""
        for listening in sockets or []:
            await let_in_the_last(listening)
        for server in self.servers:
            server.close()
        until = self.loop.time() + LAST_REQUEST_SECONDS
        while self._anyone_new() and self.loop.time() < until:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _anyone_new(self) -> bool:
        """Whether a client has connected and not sent a request yet: it is about to."""
        connections = self.server_state.connections
        return any(isinstance(one, HttpToolsProtocol) and one.cycle is None for one in connections)

    def _leave(self) -> None:
        if self.state.drain.is_set():
            self.should_exit = True
            return
        log.info("leaving: not ready, open requests end")
        self.state.drain.set()
        ending.leave_within(self.state.settings.drain_seconds + self.state.settings.leave_seconds)
        self.loop.call_later(self.state.settings.leave_seconds, setattr, self, "should_exit", True)


def serve(settings: Settings, database: Database) -> None:
    """Serve the API until SIGTERM or SIGINT. It listens as soon as this release can run on the database."""
    metrics.watch(database, settings.ppm_release)
    signals = Signals()
    app = create_app(settings, database)  # before the wait: users may be waiting for its end
    if not schema.await_fit(database, signals.told):
        return
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # what start-up made stays for good: to look through all of it again stops every request for 70 ms
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=HttpToolsProtocol,
        log_config=None,
        access_log=False,  # app/api/observe.py has one
        server_header=False,
        proxy_headers=False,  # nothing here asks who the client is
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, settings.drain_seconds - SPARE_SECONDS),
    )
    Server(config, app.state.ppm).run([listen(HOST, PORT)])
    database.close()
