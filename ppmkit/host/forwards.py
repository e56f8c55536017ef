"""Forward a host's loopback ports to local sockets over the existing SSH connection, and speak HTTP through them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ppmkit.errors import CommandFailed
from ppmkit.local import bounded

if TYPE_CHECKING:
    import httpx

_TIMEOUT = 10


class Forwards:
    """Port forwards of one SSH connection. ``sockets`` is its directory, which contains the control socket."""

    def __init__(self, host: str, sockets: Path) -> None:
        self._host = host
        self._sockets = sockets
        self._ports: dict[int, Path] = {}
        self._clients: dict[tuple[int, str], httpx.Client] = {}

    def add(self, name: str, port: int) -> str:
        """Return the value of ssh's -L option that forwards a port from the start of the connection."""
        self._ports[port] = self._sockets / name
        return f"{self._ports[port]}:127.0.0.1:{port}"

    def socket(self, port: int) -> Path:
        """Return the local socket of a port; forward the port first if necessary. Raises CommandFailed."""
        if port not in self._ports:
            path = self._sockets / f"port-{port}"
            argv = ["ssh", "-S", str(self._sockets / "control"), "-O", "forward", "-L", f"{path}:127.0.0.1:{port}"]
            result = bounded.run([*argv, "--", self._host], timeout=_TIMEOUT)
            if result.returncode:
                raise CommandFailed(
                    f"{self._host}: no tunnel to port {port}", host=self._host, seen=result.stderr.strip()
                )
            self._ports[port] = path
        return self._ports[port]

    def http(self, port: int, base_url: str) -> httpx.Client:
        """Return a client for a port. It does not verify TLS: SSH already authenticates the host."""
        import httpx

        from ppmkit.local.bounded_http import transport

        if (port, base_url) not in self._clients:
            self._clients[port, base_url] = httpx.Client(
                base_url=base_url, transport=transport(self.socket(port)), timeout=5
            )
        return self._clients[port, base_url]

    def close(self) -> None:
        """Close every client: ssh does not exit while a forwarded connection is open."""
        for client in self._clients.values():
            client.close()
