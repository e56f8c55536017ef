"""Ports of a host's loopback as sockets on this machine, and HTTP through them, by the SSH connection that is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ppmkit.errors import CommandFailed
from ppmkit.local import bounded

if TYPE_CHECKING:
    import httpx

_TIMEOUT = 10


class Forwards:
    """What one SSH connection forwards. ``sockets`` is its directory, with the control socket in it."""

    def __init__(self, host: str, sockets: Path) -> None:
        self._host = host
        self._sockets = sockets
        self._ports: dict[int, Path] = {}
        self._clients: dict[tuple[int, str], httpx.Client] = {}

    def add(self, name: str, port: int) -> str:
        """Return the option of ssh that forwards a port from the start of the connection on."""
        self._ports[port] = self._sockets / name
        return f"{self._ports[port]}:127.0.0.1:{port}"

    def socket(self, port: int) -> Path:
        """Return this end of a port; one that is not forwarded yet is from now on. Raises CommandFailed."""
        if port not in self._ports:
            here = self._sockets / f"port-{port}"
            argv = ["ssh", "-S", str(self._sockets / "control"), "-O", "forward", "-L", f"{here}:127.0.0.1:{port}"]
            done = bounded.run([*argv, "--", self._host], timeout=_TIMEOUT)
            if done.returncode:
                raise CommandFailed(
                    f"{self._host}: no tunnel to port {port}", host=self._host, seen=done.stderr.strip()
                )
            self._ports[port] = here
        return self._ports[port]

    def http(self, port: int, base_url: str) -> httpx.Client:
        """Return a client for a port; of TLS it checks nothing, since SSH proves whose the port is."""
        import httpx

        from ppmkit.local.bounded_http import transport

        if (port, base_url) not in self._clients:
            self._clients[port, base_url] = httpx.Client(
                base_url=base_url, transport=transport(self.socket(port)), timeout=5
            )
        return self._clients[port, base_url]

    def close(self) -> None:
        """Close every client: ssh does not end before what it forwards does."""
        for client in self._clients.values():
            client.close()
