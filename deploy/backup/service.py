"""The steward as a service of the stack: an upgrade starts it anew only when its own image or settings have changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deploy.backup import facts

if TYPE_CHECKING:
    from deploy.transaction import Upgrade

_PATIENCE_SECONDS = 30.0
_POLL = 0.2


def start(upgrade: Upgrade) -> str:
    """Start the steward of the release that serves now, or leave it alone; return what it says.

    Under a hold it stood still, for nobody else may have the database open then.
    """
    before = {c.id for c in upgrade.look_again().running("steward")}
    upgrade.compose.compose.up(["steward"], detach=True, dependencies=False, no_build=True, quiet=True)
    found = upgrade.look_again().running("steward")
    if before and before == {c.id for c in found}:
        return "unchanged"
    since = max((c.started for c in found if c.started), default=None)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        said = facts.read(upgrade.host)
        if said is not None and since is not None and said.written >= since:
            return f"started; the next backup is due at {said.next_backup:%F %T} UTC"
        upgrade.host.rest(_POLL)
    return "started, but it has said nothing yet: see ppmctl status"
