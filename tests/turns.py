"""Turns at the machine: a test that judges times runs alone, whatever other processes test at once."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(name: str, *, alone: bool) -> Iterator[None]:
    """Hold the machine, with others or alone. Who waits to be alone holds the door: nobody else begins meanwhile."""
    folder = Path(tempfile.gettempdir())
    with (folder / f"ppm-{name}-door.lock").open("w") as door, (folder / f"ppm-{name}-turn.lock").open("w") as machine:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield
