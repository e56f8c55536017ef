"""The steward as a service of the stack: an upgrade restarts it only when its own image or settings have changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ppmkit.backup import status
from ppmkit.release import render
from ppmkit.release.render import SETTINGS

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation

_REPORT_SECONDS = 30.0
_POLL = 0.2


def place(operation: Operation) -> None:
    """Write its settings next to the release that they are deployed with, so that a rollback finds them again."""
    host, directory, text = operation.host, operation.environment.directory, render.steward(operation.environment)
    host.write(directory / "releases" / operation.release.id / render.STEWARD, text)
    if host.read(directory / SETTINGS) is None:  # the folder is mounted, and commands of the steward read it at once
        host.write(directory / SETTINGS, text)


def start(operation: Operation) -> str:
    """Start the steward of the release that serves now, or leave it as it is; return the outcome.

    A hold stops the steward, because no other process may have the database open then.
    """
    changed = _update_settings(operation)
    before = {c.id for c in operation.refresh().running("steward")}
    operation.up("steward")
    same = {c.id for c in operation.refresh().running("steward")} == before != set()
    if same and not changed and not operation.resumed:  # an interrupted run may have written them without restarting it
        return "unchanged"
    if same:
        operation.host.docker.container.restart(sorted(before))
    since = max((c.started for c in operation.refresh().running("steward") if c.started), default=None)
    how = "restarted with new settings" if same and changed else "started"
    deadline = time.monotonic() + _REPORT_SECONDS
    while time.monotonic() < deadline:
        report = status.read(operation.host)
        if report is not None and since is not None and report.written >= since:
            return f"{how}; the next backup is due at {report.next_backup:%F %T} UTC"
        operation.host.rest(_POLL)
    return f"{how}, but it has not reported yet: see ppmctl status"


def _update_settings(operation: Operation) -> bool:
    """Write the settings of the release that serves; return whether they differ from before."""
    host, directory = operation.host, operation.environment.directory
    text = host.read(directory / "releases" / operation.release.id / render.STEWARD)
    if text is None or text == host.read(directory / SETTINGS):  # an older release has them in its Compose file
        return False
    host.write(directory / SETTINGS, text)
    return True
