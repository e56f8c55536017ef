"""Sessions with a host: locked, to change it, or read-only."""

from __future__ import annotations

import getpass
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ppmkit.host import lock, version
from ppmkit.host.host import Host

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress


def who() -> str:
    """Return user@machine, for locks, journals and records."""
    return f"{getpass.getuser()}@{platform.node()}"


@contextmanager
def locked(
    environment: Environment, address: HostAddress, command: str, cancelled: threading.Event | None = None
) -> Iterator[Host]:
    """Yield the host, connected and locked for the duration of the block. Raises HostLocked and HostNewer.

    Raises KeyboardInterrupt if ``cancelled`` is set before the connection is up.
    """
    owner = {
        "who": who(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"ppmctl {command} -e {environment.name}",
        "process": str(os.getpid()),
    }
    with Host.connect(environment, address, cancelled) as host, lock.held(host, owner):
        version.refuse(host)
        yield host


@contextmanager
def read_only(environment: Environment, address: HostAddress) -> Iterator[Host]:
    """Yield the host, connected, to read ppmctl's files on it. Takes no lock. Raises HostNewer."""
    with Host.connect(environment, address) as host:
        version.refuse(host)
        yield host
