"""Backups as tables, and the steward's report as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ByteSize

from ppmkit.cli import terminal

if TYPE_CHECKING:
    from ppmkit.actions.backup import Summary, Verdict, Verification
    from ppmkit.actions.drill import Drill
    from ppmkit.actions.restore import Restored
    from ppmkit.backup.status import Facts


def backups(found: Sequence[Summary]) -> None:
    """Print backups."""
    table = terminal.table("host", "backup", "kind", "created", "size", "database", "rows", "schema", "verified")
    for each in found:
        kind = f"{each.kind}, pinned" if each.pinned else each.kind
        created = each.created.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        sizes = [ByteSize(size).human_readable() for size in (each.bytes, each.plain_bytes)]
        verified = terminal.text(str(each.level), "green") if each.verified else terminal.text("no", "red")
        terminal.row(table, each.host, each.id, kind, created, *sizes, f"{each.rows:,}", each.revision or "", verified)
    terminal.print_table(table)


def verifications(found: Sequence[Verification]) -> None:
    """Print the results of verifications."""
    table = terminal.table("host", "backup", "outcome", "level", "seconds", "seen")
    for each in found:
        style = {"ok": "green", "failed": "red"}.get(each.outcome, "yellow")
        outcome = terminal.text(each.outcome, style)
        terminal.row(table, each.host, each.id, outcome, each.level, f"{each.seconds:.1f}", each.seen)
    terminal.print_table(table)


def drills(found: Sequence[Drill]) -> None:
    """Print the results of drills."""
    table = terminal.table("host", "backup", "outcome", "seconds", "evidence")
    for each in found:
        outcome = terminal.text(each.outcome, "green" if each.outcome == "ok" else "red")
        terminal.row(table, each.host, each.id, outcome, f"{each.seconds:.1f}", each.evidence)
    terminal.print_table(table)


def verdicts(found: Sequence[Verdict], *, dry_run: bool) -> None:
    """Print which backups are kept or removed, and why."""
    removed = "would be removed" if dry_run else "removed"
    table = terminal.table("host", "backup", "", "why")
    for each in found:
        terminal.row(table, each.host, each.id, "kept" if each.keep else terminal.text(removed, "yellow"), each.why)
    terminal.print_table(table)


def restored(done: Restored) -> None:
    """Print the result of a restore."""
    terminal.line(
        f"{done.host}: the database was restored from backup {done.id}; requests waited at most "
        f"{done.held_seconds:.1f} s ({done.seconds:.1f} s in total)"
    )
    terminal.line(f"{failed_while_held(done.failed)}{done.safety}")


def failed_while_held(failed: str) -> str:
    """Return the requests that failed while others waited, as a line; "" if there were none."""
    return f"while requests waited: {failed}\n" if failed else ""


def status(found: Facts, now: datetime) -> Iterator[str]:
    """Yield the lines of the steward's report."""
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
    """Return a duration in a suitable unit."""
    seconds = max(0.0, span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
