"""What the application's page tells of its host: documents there, in folders that the api can read.

What ppmctl writes comes from the journal; `facts` is the steward's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppmkit.operation import journal

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.operation.journal import Past

HISTORY = "history"
DEPLOYS = "deploys.json"
LAST = 10


def publish(host: Host) -> None:
    """Write what was done on the host, as far as it has ended."""
    there = host.environment.directory / HISTORY
    host.run(["mkdir", "-p", "-m", "755", str(there)])
    host.write(there / DEPLOYS, deploys(journal.history(journal.lines(host))))


def deploys(past: Sequence[Past]) -> str:
    """Given the operations, newest first, return the document: the last of them that have ended.

    Anybody may read the page, so it does not say who it was, nor from which machine; `ppmctl history` does.
    """
    ended = [operation for operation in past if operation.outcome != "unfinished"][:LAST]
    shown = {"kind", "release", "color", "began", "seconds", "outcome"}
    return json.dumps({"deploys": [operation.model_dump(mode="json", include=shown) for operation in ended]}) + "\n"
