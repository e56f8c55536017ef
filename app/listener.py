"""A port that can be closed without resetting clients that have already connected.

Closing a listening socket resets the connections that the kernel has established but the process has not accepted yet,
and their clients may already have sent a request. So first the kernel is told to ignore new clients, then all waiting
connections are accepted, and only then the port closes. An ignored client retries by itself a second later and is
refused: it has sent nothing. See socket(7), SO_ATTACH_FILTER, and BPF in Linux's networking/filter.rst.
"""

from __future__ import annotations

import asyncio
import ctypes
import select
import socket
import struct
from contextlib import suppress

_SO_ATTACH_FILTER = 26
_IGNORE_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that holds the flags
    (0x45, 0, 1, 0x02),  # if SYN, continue; else skip one instruction
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # keep it: it may complete a handshake that has begun
)
_HANDSHAKE_SECONDS = 0.1


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket."""
    return socket.create_server((host, port), backlog=2048)


async def let_in_the_last(listening: socket.socket) -> None:
    """Ignore new clients; return when the event loop has accepted all earlier ones."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _IGNORE_SYN))
    with suppress(OSError):  # without filters in the kernel, the port closes as any other does
        program = struct.pack("HP", len(_IGNORE_SYN), ctypes.addressof(code))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    await asyncio.sleep(_HANDSHAKE_SECONDS)
    while select.select([listening], [], [], 0)[0]:
        await asyncio.sleep(0.01)
