"""Documents on the host for the application's page, in folders that the api can read.

ppmctl writes its document from the journal; the steward writes `facts`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppmkit.operation import journal

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.operation.journal import OperationSummary

HISTORY = "history"
DEPLOYS = "deploys.json"
LAST = 10


def publish(host: Host) -> None:
    """Write the last operations on the host that have ended."""
    folder = host.environment.directory / HISTORY
    host.run(["mkdir", "-p", "-m", "755", str(folder)])
    host.write(folder / DEPLOYS, deploys(journal.history(journal.lines(host))))


def deploys(operations: Sequence[OperationSummary]) -> str:
    """Given the operations, newest first, return the document: the last of them that have ended.

    The page is public, so it names neither the operator nor the machine; `ppmctl history` does.
    """
    ended = [operation for operation in operations if operation.outcome != "unfinished"][:LAST]
    public = {"kind", "release", "color", "began", "seconds", "outcome"}
    return json.dumps({"deploys": [operation.model_dump(mode="json", include=public) for operation in ended]}) + "\n"
