"""A port that closes without turning away who was let in."""

from __future__ import annotations

import asyncio
import errno
import select
import socket

from app.listener import let_in_the_last, listen


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(5))
    await writer.drain()
    writer.close()


def test_who_waits_is_answered_and_who_comes_later_is_refused_before_it_sends() -> None:
    listening = listen("127.0.0.1", 0)
    address = listening.getsockname()
    with socket.create_connection(address, 5) as early, socket.socket() as late:
        early.sendall(b"early")

        async def leave() -> None:
            server = await asyncio.start_server(_answer, sock=listening)
            await let_in_the_last(listening)
            late.setblocking(False)
            assert late.connect_ex(address) == errno.EINPROGRESS
            server.close()
            assert await asyncio.to_thread(early.recv, 5) == b"early"

        asyncio.run(leave())
        select.select([], [late], [], 5)
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
