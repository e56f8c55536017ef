"""`python -m steward.health`: whether the steward works, and the newest backup is not older than it may get.

It reads what the steward writes every minute, and imports next to nothing: it runs all day.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SILENT_SECONDS = 300


def ailment(found: Mapping[str, Any], now: datetime) -> str | None:
    """Given the document of facts, return what is wrong; None when all is well.

    Where there is no backup yet, the time since the steward started counts.
    """
    if (silent := _age(found["written"], now)) > _SILENT_SECONDS:
        return f"the steward has said nothing for {silent:.0f} s"
    last = found["last_backup"]
    if last is not None and not last["verified"]:
        return f"backup {last['id']} is damaged, and there is no other"
    age, objective = _age(last["at"] if last else found["since"], now), found["objective_seconds"]
    if age > objective:
        return f"the newest backup is {age:.0f} s old, {objective:.0f} s are allowed" if last else "there is no backup"
    return None


def _age(time: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(time)).total_seconds()


def main() -> int:
    """Return 0 when all is well; say what is not."""
    folder = Path(json.loads(os.environ["STEWARD"]).get("facts", "/facts"))
    wrong = ailment(json.loads((folder / "backups.json").read_text()), datetime.now(UTC))
    print(wrong or "ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
