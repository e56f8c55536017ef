"""HTTP to a host with a deadline and a size limit per response. httpx itself only limits single reads."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpcore
import httpx

from ppmkit.local.bounded import LIMIT, TOO_MUCH

ANSWER_SECONDS = 30.0
"""Time limit from the last byte of a request to the last byte of its response."""


def transport(socket: Path) -> httpx.HTTPTransport:
    """Return a transport over a Unix socket that leads to a host. It raises httpx.ReadTimeout and httpx.ReadError."""
    result = httpx.HTTPTransport(uds=str(socket), verify=False)
    result._pool._network_backend = _Backend()  # httpx has no argument for it
    return result


class _Backend(httpcore.SyncBackend):
    """Opens connections with limits."""

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_unix_socket(path, timeout, socket_options))


class _Stream(httpcore.NetworkStream):
    """One connection. Everything that is read after a request is its response."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._deadline, self._bytes_left = 0.0, 0

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)
        self._deadline, self._bytes_left = time.monotonic() + ANSWER_SECONDS, LIMIT

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout(f"no complete response within {ANSWER_SECONDS:g} s")
        if self._bytes_left <= 0:
            raise httpcore.ReadError(TOO_MUCH)
        block = self._stream.read(max_bytes, left if timeout is None else min(left, timeout))
        self._bytes_left -= len(block)
        return block

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
