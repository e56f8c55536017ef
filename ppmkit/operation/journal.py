"""A host's journal: every step of every operation, one line each. Its evaluation is pure.

An operation's first line holds everything needed to resume or undo it from another machine.
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
"""Lines to read from the journal's end: enough for many operations."""
Kind = Literal["deploy", "rollback", "restore"]
Outcome = Literal["begin", "done", "failed", "undone"]


class Intent(Model):
    """The aim of an operation; its first journal line holds it."""

    operation: str
    """Its id: the time at which it began."""
    kind: Kind
    release: Release
    target: Color
    live: Color | None = None
    """The color that served when it began."""
    previous: str | None = None
    """The release that served when it began."""
    back: str | None = None
    """The release that a later rollback returns to."""
    source: Source
    maintenance: bool = False
    """Show users a maintenance page while the database changes, if needed."""
    canary: tuple[int, ...] = ()
    """The shares of requests in percent, step by step."""
    change: Change | None = None
    """What a rollback or restore does to the database."""

    @property
    def reversible(self) -> bool:
        """Whether another color served before, so that users can be sent back to it."""
        return self.target != self.live


class Entry(Model):
    """One line of the journal."""

    time: AwareDatetime
    who: str
    operation: str
    what: str
    """A kind of operation, or a step of one."""
    outcome: Outcome
    release: str
    seconds: float | None = None
    """For `done`, how long it took; for `begin`, its deadline."""
    error: str | None = None
    intent: Intent | None = None
    facts: dict[str, str] | None = None
    """The findings so far, for a process that resumes the operation."""

    def document(self) -> dict[str, Any]:
        """Return the entry as JSON, as the journal stores it."""
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


class OperationSummary(Model):
    """One operation, as `ppmctl history` lists it."""

    operation: str
    kind: str
    who: str
    began: datetime
    release: str
    color: Color
    """The color that the release was to serve in."""
    outcome: str
    seconds: float
    steps: tuple[str, ...]
    """The steps that were done."""
    error: str | None = None


def lines(host: Host) -> list[str]:
    """Return the last lines of the host's journal."""
    path = str(host.environment.directory / FILE)
    script = 'test -e "$1" || exit 0; tail -n "$2" "$1"'
    return host.run(["sh", "-c", script, "sh", path, str(_LINES)]).stdout.splitlines()


def new_operation() -> str:
    """Return an id for an operation that begins now; ids sort by time."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]


def _documents(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the lines that are JSON: a crash may have truncated the last one."""
    documents = []
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            documents.append(document)
    return documents


def unfinished(lines: Iterable[str]) -> Unfinished | None:
    """Return the last operation if it neither ended nor was undone.

    Raises ValueError when another version of ppmctl wrote it and this one does not understand it.
    """
    documents = _documents(lines)
    last = next((d for d in reversed(documents) if "intent" in d), None)
    if last is None:
        return None
    own = [d for d in documents if d.get("operation") == last.get("operation")]
    if any(d.get("what") == last.get("what") and d.get("outcome") in ("done", "undone") for d in own):
        return None
    first, *rest = (Entry.model_validate(document) for document in own)
    assert first.intent is not None, "the operation was found by its intent"
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


def history(lines: Iterable[str]) -> list[OperationSummary]:
    """Return the operations, newest first, without those whose version this ppmctl does not understand."""
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
    return [_summary(intent, *entries) for intent, entries in reversed(groups.values())]


def _summary(intent: Intent, first: Entry, *rest: Entry) -> OperationSummary:
    end = next((entry for entry in reversed(rest) if entry.what == first.what), None)
    last = rest[-1] if rest else first
    return OperationSummary(
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
    """Return an entry with the current time."""
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
"""`fresh`: the database is not in use yet. `beside`: while the old release serves. `hold`: while requests wait."""


class Change(Model):
    """What an operation does to the database."""

    way: Way
    service: str
    """The Compose service whose image makes the change."""
    of_live: bool = False
    """Whether the release that serves now makes the change, instead of the new one."""
    command: tuple[str, ...]
    replaces: bool = False
    """Whether another file becomes the database, and the current one is not written to."""
    said: str
    """The change as text: 0001 → 0002."""
    proven_by_live: bool = False
    """Whether the release that serves now must prove that it can run on the changed database."""
