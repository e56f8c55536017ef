"""`python -m steward.health`: health check of the steward and of the newest backup's age.

It reads the document that the steward writes every minute. It imports very little, because it runs all day. `ppmctl
status` shows the same problems.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .paths import DOCUMENT, FACTS

_SILENT = timedelta(minutes=5)
_AGAIN = "run: ppmctl backup create"


def ailments(found: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Given the facts document, yield a description of each problem with the steward and its backups.

    If there is no backup yet, the time since the steward's start counts.
    """
    written = datetime.fromisoformat(found["written"])
    if now - written > _SILENT:
        yield f"the steward has not reported since {written:%F %T} UTC; see: ppmctl logs steward"
    last = found["last_backup"]
    if last is not None and not last["verified"]:
        yield f"backup {last['id']} is damaged, and there is no other; {_AGAIN}"
    newest = datetime.fromisoformat(last["at"] if last else found["since"])
    if now - newest > timedelta(seconds=found["objective_seconds"]):
        yield f"there was no backup {f'since {newest:%F %T} UTC' if last else 'yet'}; {_AGAIN}"


def main() -> int:
    """Print the problems; return 0 if there are none."""
    folder = Path(json.loads(Path(os.environ["STEWARD"]).read_text(encoding="utf-8")).get("facts", FACTS))
    wrong = "; ".join(ailments(json.loads((folder / DOCUMENT).read_text(encoding="utf-8")), datetime.now(UTC)))
    print(wrong or "ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
