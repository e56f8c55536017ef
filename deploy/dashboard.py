"""`ppmctl status --dashboard`: the proxy's own page, which listens on the host's loopback only, on this machine's."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from deploy.errors import CommandFailed
from deploy.host import Host

if TYPE_CHECKING:
    from deploy.config import Environment, HostAddress

PAGE = "/dashboard/"
_TIMEOUT = 10


def watch(environment: Environment, address: HostAddress, show: Callable[[str], None]) -> None:
    """Show the URL of a host's dashboard, which answers until Ctrl-C or until the connection is lost.

    Raises CommandFailed when the proxy has none, and HostUnreachable.
    """
    with Host.connect(environment, address) as host, forwarded(host, environment.proxy.internal_port) as port:
        url = f"http://127.0.0.1:{port}{PAGE}"
        _see(host, url)
        show(url)
        with suppress(KeyboardInterrupt), host.start(["cat"]) as connection:
            connection.wait()
            raise CommandFailed(f"{host.name}: the SSH connection was lost", host=host.name, next="Run it again")


@contextmanager
def forwarded(host: Host, port: int) -> Iterator[int]:
    """Yield a port of this machine's loopback that leads to one of the host's, by the connection that is there.

    It closes with the connection. Raises CommandFailed.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        here: int = free.getsockname()[1]
    argv = ["ssh", "-S", str(host.control_socket), "-O", "forward", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"]
    done = subprocess.run([*argv, host.name], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        raise CommandFailed(f"{host.name}: no tunnel to port {port}", host=host.name, seen=done.stderr.strip())
    yield here


def _see(host: Host, url: str) -> None:
    import httpx

    try:
        answer = httpx.get(url, timeout=_TIMEOUT, trust_env=False)
        seen = f"GET {PAGE}: status {answer.status_code}" if answer.status_code != 200 else None
    except httpx.HTTPError as error:
        seen = f"GET {PAGE}: {type(error).__name__}: {error}"
    if seen:
        next = (
            f"ppmctl status -e {host.environment.name}; routes of before there was a dashboard are renewed by a deploy"
        )
        raise CommandFailed(f"{host.name}: the proxy shows no dashboard", host=host.name, seen=seen, next=next)
