"""What a steward knows, in words for `ppmctl status`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ByteSize

if TYPE_CHECKING:
    from ppmkit.backup.status import Facts


def of(found: Facts, now: datetime) -> Iterator[str]:
    """Yield what the steward knows, a line each."""
    made, drilled = found.last_backup, found.last_drill
    proof = "verified" if made and made.verified else "damaged"
    last = f"{made.id}, {_ago(now - made.at)}, {ByteSize(made.bytes).human_readable()}, {proof}" if made else "none yet"
    yield f"backup  {last}; next at {_local(found.next_backup)}"
    read = "none yet"
    if drilled:
        costs = f"RTO {drilled.rto_seconds:.1f} s, RPO {_span(timedelta(seconds=drilled.rpo_seconds))}"
        read = f"{drilled.id}, {_ago(now - drilled.at)}, {drilled.level} {drilled.outcome}, {costs}"
    yield f"drill   {read}; next at {_local(found.next_drill)}"
    for span in found.continuous or ():
        yield f"any moment from {_local(span.first)} to {_local(span.last)}"


def _local(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _ago(span: timedelta) -> str:
    return f"{_span(span)} ago"


def _span(span: timedelta) -> str:
    """Return a time in the unit that fits."""
    seconds = max(0.0, span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
