"""The journal of a host: every step of every operation, one line each. What it says of the last one is read purely.

An operation begins with a line that holds all it takes to go on with it, or to undo it, from another machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, ValidationError

from ppmkit.config.environment import Model
from ppmkit.release.model import Color, Release, Source

if TYPE_CHECKING:
    from ppmkit.host.host import Host

FILE = "journal.jsonl"
_LINES = 1000
"""Of the journal, from its end: many operations."""
Kind = Literal["deploy", "rollback", "restore"]
Outcome = Literal["begin", "done", "failed", "undone"]


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

    def document(self) -> dict[str, Any]:
        """Return the entry as a line of the journal holds it, as JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)


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
    color: Color
    """That it was to serve in."""
    outcome: str
    seconds: float
    steps: tuple[str, ...]
    """Those that were done."""
    error: str | None = None


def lines(host: Host) -> list[str]:
    """Return the last lines of the host's journal."""
    path = str(host.environment.directory / FILE)
    script = 'test -e "$1" || exit 0; tail -n "$2" "$1"'
    return host.run(["sh", "-c", script, "sh", path, str(_LINES)]).stdout.splitlines()


def new_operation() -> str:
    """Return an id for an operation that begins now; ids are in the order of time."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]


def _documents(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the lines that are JSON: the last one may be torn by a crash."""
    found = []
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            found.append(document)
    return found


def unfinished(lines: Iterable[str]) -> Unfinished | None:
    """Return the last operation if it neither ended nor was undone.

    Raises ValueError when it is of a version of ppmctl that this one does not understand.
    """
    documents = _documents(lines)
    last = next((d for d in reversed(documents) if "intent" in d), None)
    if last is None:
        return None
    mine = [d for d in documents if d.get("operation") == last.get("operation")]
    if any(d.get("what") == last.get("what") and d.get("outcome") in ("done", "undone") for d in mine):
        return None
    first, *rest = (Entry.model_validate(document) for document in mine)
    assert first.intent is not None, "it was found by that"
    begun = dict.fromkeys(entry.what for entry in rest if entry.outcome == "begin")
    for entry in rest:
        if entry.outcome == "undone":
            begun.pop(entry.what, None)
    done = {entry.what for entry in rest if entry.outcome == "done"}
    return Unfinished(
        intent=first.intent,
        who=first.who,
        since=first.time,
        begun=tuple(begun),
        done=tuple(name for name in begun if name in done),
        facts={key: value for entry in rest for key, value in (entry.facts or {}).items()},
    )


def history(lines: Iterable[str]) -> list[Past]:
    """Return the operations, newest first; those of a version that this one does not understand are left out."""
    groups: dict[str, tuple[Intent, list[Entry]]] = {}
    for document in _documents(lines):
        try:
            entry = Entry.model_validate(document)
        except ValidationError:
            continue
        if entry.intent is not None:
            groups.setdefault(entry.operation, (entry.intent, []))
        if entry.operation in groups:
            groups[entry.operation][1].append(entry)
    return [_past(intent, *entries) for intent, entries in reversed(groups.values())]


def _past(intent: Intent, first: Entry, *rest: Entry) -> Past:
    end = next((entry for entry in reversed(rest) if entry.what == first.what), None)
    last = rest[-1] if rest else first
    return Past(
        operation=first.operation,
        kind=first.what,
        who=first.who,
        began=first.time,
        release=first.release,
        color=intent.target,
        outcome=end.outcome if end else "unfinished",
        seconds=round((last.time - first.time).total_seconds(), 1),
        steps=tuple(entry.what for entry in rest if entry.outcome == "done" and entry.what != first.what),
        error=next((entry.error for entry in rest if entry.error), None),
    )


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


Way = Literal["fresh", "beside", "hold"]
"""`fresh`: nobody uses the database yet. `beside`: while the old release serves. `hold`: while requests wait."""


class Change(Model):
    """What an operation does to the database."""

    way: Way
    service: str
    """Of Compose, whose image does it."""
    of_live: bool = False
    """It is done by the release that serves now, not by the one that is to."""
    command: tuple[str, ...]
    replaces: bool = False
    """Another file becomes the database, and nobody writes to the one that it is now."""
    said: str
    """For people: 0001 → 0002."""
    proven_by_live: bool = False
    """The release that serves now goes on using the database."""
