"""`ppmctl status --dashboard`: forward the proxy's dashboard from the host's loopback to this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ppmkit.errors import CommandFailed
from ppmkit.host.host import Host

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

PAGE = "/dashboard/"
_TIMEOUT = 10


def watch(environment: Environment, address: HostAddress, show: Callable[[str], None]) -> None:
    """Show the URL of a host's dashboard and serve it until Ctrl-C or until the connection is lost.

    Raises CommandFailed if the proxy has no dashboard, and HostUnreachable.
    """
    with (
        Host.connect(environment, address) as host,
        forwarded(host, host.proxy_settings.proxy.internal_port) as port,
    ):
        url = f"http://127.0.0.1:{port}{PAGE}"
        _check(host, url)
        show(url)
        sys.stdout.flush()  # a reader at the other end of a pipe needs the URL now
        with suppress(KeyboardInterrupt), host.start(["cat"]) as connection:
            connection.wait()
            raise host.lost()


@contextmanager
def forwarded(host: Host, port: int) -> Iterator[int]:
    """Yield a loopback port of this machine that leads to one of the host's, over the existing connection.

    The end of the block closes the whole connection. Raises CommandFailed.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        local_port: int = free.getsockname()[1]
    result = _control(host, "forward", "-L", f"127.0.0.1:{local_port}:127.0.0.1:{port}")
    if result.returncode:
        raise CommandFailed(f"{host.name}: no tunnel to port {port}", host=host.name, seen=result.stderr.strip())
    try:
        yield local_port
    finally:  # a browser keeps its connections open, and ssh would wait for them
        _control(host, "exit")


def _control(host: Host, *command: str) -> subprocess.CompletedProcess[str]:
    """Send a control command to the existing SSH connection."""
    argv = ["ssh", "-S", str(host.control_socket), "-O", *command, "--", host.name]
    return subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=_TIMEOUT, check=False)


def _check(host: Host, url: str) -> None:
    """Raise CommandFailed if the dashboard does not answer."""
    import httpx

    try:
        with httpx.stream("GET", url, timeout=_TIMEOUT, trust_env=False) as answer:  # only the browser needs the body
            seen = f"GET {PAGE}: status {answer.status_code}" if answer.status_code != 200 else None
    except httpx.HTTPError as error:
        seen = f"GET {PAGE}: {type(error).__name__}: {error}"
    if seen:
        next = f"ppmctl status -e {host.environment.name}; a deploy updates routes from before there was a dashboard"
        raise CommandFailed(f"{host.name}: the proxy serves no dashboard", host=host.name, seen=seen, next=next)
