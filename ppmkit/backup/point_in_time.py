"""`ppmctl backup moments`: from when to when `restore --at` can bring any moment back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ppmkit.backup.client import Office, office
from ppmkit.config.environment import Model
from ppmkit.errors import UsageError
from ppmkit.host.session import read_only

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress


class Span(Model):
    """Any moment from the one to the other; what `backup moments --json` prints of each."""

    host: str
    first: datetime
    last: datetime

    @property
    def words(self) -> str:
        """The span, for people."""
        return f"from {in_words(self.first)} to {in_words(self.last)}"


def moments(environment: Environment, address: HostAddress) -> list[Span]:
    """Return what was shipped, oldest first; takes no lock."""
    with read_only(environment, address) as host, office(host) as steward:
        return shipped(steward)


def shipped(steward: Office) -> list[Span]:
    """Return what was shipped on the steward's host, oldest first."""
    return [Span(host=steward.host.name, **each) for each in steward.ask("moments")]


def refuse_unless_shipped(found: Sequence[Span], moment: datetime) -> None:
    """Raise UsageError, with what there is, when a moment is in none of the spans."""
    if any(span.first <= moment <= span.last for span in found):
        return
    there = "; ".join(span.words for span in found)
    raise UsageError(
        f"{in_words(moment)} cannot be brought back; what can: {there or 'nothing, no change was shipped'}",
        next="Choose a moment of those, or a backup of `ppmctl backup list`" if there else "See backup.continuous",
    )


def parse(text: str) -> datetime:
    """Given a moment as people write it (ISO 8601; UTC unless it says otherwise), return it. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix("UTC").strip())
    except ValueError:
        again = 'Write it as "2026-03-01 14:05:09" (UTC), or with +02:00 at its end'
        raise UsageError(f"not a time: {text!r}", next=again) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def in_words(moment: datetime) -> str:
    """Return a moment as `restore --at` takes it."""
    return f"{moment.astimezone(UTC):%F %T.%f}"[:-3] + " UTC"
