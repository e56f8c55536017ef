"""The steward as a service of the stack: an upgrade starts it anew only when its own image or settings have changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ppmkit.backup import status
from ppmkit.release import render
from ppmkit.release.render import SETTINGS

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation

_PATIENCE_SECONDS = 30.0
_POLL = 0.2


def place(operation: Operation) -> None:
    """Lay its settings beside the release that they are deployed with, so that a rollback finds them again."""
    host, directory, text = operation.host, operation.environment.directory, render.steward(operation.environment)
    host.write(directory / "releases" / operation.release.id / render.STEWARD, text)
    if host.read(directory / SETTINGS) is None:  # the folder is mounted, and commands of the steward read it at once
        host.write(directory / SETTINGS, text)


def start(operation: Operation) -> str:
    """Start the steward of the release that serves now, or leave it alone; return what it says.

    Under a hold it stood still, for nobody else may have the database open then.
    """
    told = _tell(operation)
    before = {c.id for c in operation.refresh().running("steward")}
    operation.compose.compose.up(["steward"], detach=True, dependencies=False, no_build=True, quiet=True)
    same = {c.id for c in operation.refresh().running("steward")} == before != set()
    if same and not told and not operation.resumed:  # who was cut short may have told it, and no more
        return "unchanged"
    if same:
        operation.host.docker.container.restart(sorted(before))
    since = max((c.started for c in operation.refresh().running("steward") if c.started), default=None)
    how = "started anew with other settings" if same and told else "started"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        said = status.read(operation.host)
        if said is not None and since is not None and said.written >= since:
            return f"{how}; the next backup is due at {said.next_backup:%F %T} UTC"
        operation.host.rest(_POLL)
    return f"{how}, but it has said nothing yet: see ppmctl status"


def _tell(operation: Operation) -> bool:
    """Give it the settings of the release that serves; return whether they are others than before."""
    host, directory = operation.host, operation.environment.directory
    text = host.read(directory / "releases" / operation.release.id / render.STEWARD)
    if text is None or text == host.read(directory / SETTINGS):  # a release of before has them in its Compose file
        return False
    host.write(directory / SETTINGS, text)
    return True
