"""The journal of a host: every step of every operation, one line each. What it says of the last one is read purely.

An operation begins with a line that holds all it takes to go on with it, or to undo it, from another machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, ValidationError

from deploy.config import Model
from deploy.migrate import Change
from deploy.release import Color, Release, Source

FILE = "journal.jsonl"
Kind = Literal["deploy", "rollback"]
Outcome = Literal["begin", "done", "failed", "undone", "left"]
"""`left`: it failed and could not be undone; the next command that takes the lock sees to it."""


class Intent(Model):
    """What an operation is about, as its first line says."""

    operation: str
    """Its id: the time it began."""
    kind: Kind
    release: Release
    target: Color
    live: Color | None = None
    """The colour that served when it began."""
    previous: str | None = None
    """The release that served when it began."""
    back: str | None = None
    """The release that a rollback from here leads to."""
    source: Source
    maintenance: bool = False
    """Users may be shown a maintenance page for as long as the database changes."""
    canary: tuple[int, ...] = ()
    """Per cent of the requests, step by step."""
    change: Change | None = None
    """Of a rollback: what it does to the database."""

    @property
    def reversible(self) -> bool:
        """Whether somebody else served before, to whom users can be sent back."""
        return self.target != self.live


class Entry(Model):
    """One line."""

    time: AwareDatetime
    who: str
    operation: str
    what: str
    """A kind of operation, or a step of one."""
    outcome: Outcome
    release: str
    seconds: float | None = None
    """Of what is done: how long it took. Of what begins: how long it may take."""
    error: str | None = None
    intent: Intent | None = None
    facts: dict[str, str] | None = None
    """What the step found out, for whoever goes on with the operation."""

    def line(self) -> str:
        """Return the entry as the journal holds it."""
        return self.model_dump_json(exclude_none=True)


class Unfinished(Model):
    """An operation that neither ended nor was undone."""

    intent: Intent
    who: str
    since: datetime
    begun: tuple[str, ...]
    """Its steps that began and were not undone, in order."""
    done: tuple[str, ...]
    facts: dict[str, str]


class Past(Model):
    """One operation, for people."""

    operation: str
    kind: str
    who: str
    began: datetime
    release: str
    outcome: str
    seconds: float
    steps: tuple[str, ...]
    """Those that were done."""
    error: str | None = None


def new_operation() -> str:
    """Return an id for an operation that begins now; ids are in the order of time."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]


def parse(lines: Iterable[str]) -> list[Entry]:
    """Return the entries; a line that is none (torn by a crash, or of another version) is passed over."""
    entries = []
    for line in lines:
        try:
            entries.append(Entry.model_validate(json.loads(line)))
        except (ValueError, ValidationError):
            continue
    return entries


def unfinished(entries: Iterable[Entry]) -> Unfinished | None:
    """Return the last operation if it neither ended nor was undone."""
    last = _grouped(entries)
    if not last:
        return None
    first, *rest = last[-1]
    if first.intent is None or any(e.what == first.what and e.outcome in ("done", "undone") for e in rest):
        return None
    begun = dict.fromkeys(e.what for e in rest if e.outcome == "begin")
    for entry in rest:
        if entry.outcome == "undone":
            begun.pop(entry.what, None)
    done = {e.what for e in rest if e.outcome == "done"}
    return Unfinished(
        intent=first.intent,
        who=first.who,
        since=first.time,
        begun=tuple(begun),
        done=tuple(name for name in begun if name in done),
        facts={key: value for e in rest for key, value in (e.facts or {}).items()},
    )


def history(entries: Iterable[Entry]) -> list[Past]:
    """Return the operations, newest first."""
    found = []
    for first, *rest in _grouped(entries):
        end = next((e for e in reversed(rest) if e.what == first.what), None)
        last = rest[-1] if rest else first
        found.append(
            Past(
                operation=first.operation,
                kind=first.what,
                who=first.who,
                began=first.time,
                release=first.release,
                outcome=end.outcome if end else "unfinished",
                seconds=round((last.time - first.time).total_seconds(), 1),
                steps=tuple(e.what for e in rest if e.outcome == "done" and e.what != first.what),
                error=next((e.error for e in rest if e.error), None),
            )
        )
    return found[::-1]


def _grouped(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the entries of each operation, the one that says what it is about first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.intent is not None and entry.operation not in groups:
            groups[entry.operation] = [entry]
        elif entry.operation in groups:
            groups[entry.operation].append(entry)
    return list(groups.values())


def entry(about: Intent, who: str, what: str, outcome: Outcome, **more: Any) -> Entry:
    """Return an entry of now."""
    return Entry(
        time=datetime.now(UTC),
        who=who,
        operation=about.operation,
        what=what,
        outcome=outcome,
        release=about.release.id,
        **more,
    )
