"""`ppmctl status --dashboard`: the proxy's own page, which listens on the host's loopback only, on this machine's."""

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
    """Show the URL of a host's dashboard, which answers until Ctrl-C or until the connection is lost.

    Raises CommandFailed when the proxy has none, and HostUnreachable.
    """
    with (
        Host.connect(environment, address) as host,
        forwarded(host, host.proxy_settings.proxy.internal_port) as port,
    ):
        url = f"http://127.0.0.1:{port}{PAGE}"
        _see(host, url)
        show(url)
        sys.stdout.flush()  # whoever reads it through a pipe shall not wait for the end
        with suppress(KeyboardInterrupt), host.start(["cat"]) as connection:
            connection.wait()
            raise host.lost()


@contextmanager
def forwarded(host: Host, port: int) -> Iterator[int]:
    """Yield a port of this machine's loopback that leads to one of the host's, by the connection that is there.

    At the end it closes, and the whole connection with it. Raises CommandFailed.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        here: int = free.getsockname()[1]
    done = _tell(host, "forward", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}")
    if done.returncode:
        raise CommandFailed(f"{host.name}: no tunnel to port {port}", host=host.name, seen=done.stderr.strip())
    try:
        yield here
    finally:  # a browser keeps its connections, and ssh would wait for them to end
        _tell(host, "exit")


def _tell(host: Host, *command: str) -> subprocess.CompletedProcess[str]:
    """Give the SSH connection that is there an order."""
    argv = ["ssh", "-S", str(host.control_socket), "-O", *command, "--", host.name]
    return subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=_TIMEOUT, check=False)


def _see(host: Host, url: str) -> None:
    import httpx

    try:
        with httpx.stream("GET", url, timeout=_TIMEOUT, trust_env=False) as answer:  # its body is for the browser
            seen = f"GET {PAGE}: status {answer.status_code}" if answer.status_code != 200 else None
    except httpx.HTTPError as error:
        seen = f"GET {PAGE}: {type(error).__name__}: {error}"
    if seen:
        next = (
            f"ppmctl status -e {host.environment.name}; routes of before there was a dashboard are renewed by a deploy"
        )
        raise CommandFailed(f"{host.name}: the proxy shows no dashboard", host=host.name, seen=seen, next=next)
