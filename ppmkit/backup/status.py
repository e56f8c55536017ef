"""The status of a host's backups, which the steward writes every minute. Its evaluation is pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, ConfigDict, ValidationError

from ppmkit.config.environment import Model
from ppmkit.steward import paths
from ppmkit.steward.health import ailments

if TYPE_CHECKING:
    from ppmkit.host.host import Host


class _Part(Model):
    """A part of the document; a newer steward may write more fields."""

    model_config = ConfigDict(extra="ignore")


class LastBackup(_Part):
    """The newest verified backup, or the newest one if none is verified."""

    id: str
    at: AwareDatetime
    """The time of its contents."""
    bytes: int
    verified: bool
    seconds: float
    """How long it took to make."""


class LastDrill(_Part):
    """A backup that was read back."""

    id: str
    at: AwareDatetime
    level: str
    """The level reached: L0 its hash, L1 decoded, L2 sound, L3 equal in every table, L4 the application answered."""
    outcome: Literal["ok", "failed", "inconclusive"]
    rto_seconds: float
    """How long reading it back took."""
    rpo_seconds: float
    """How old it was: the period of writes that a restore would have lost."""


class Failure(_Part):
    """A task that keeps failing."""

    times: int
    said: str


class Window(_Part):
    """Any time from ``first`` to ``last`` can be restored."""

    first: AwareDatetime
    last: AwareDatetime


class Facts(_Part):
    """``facts/backups.json`` on a host."""

    written: AwareDatetime
    since: AwareDatetime
    """When the steward started."""
    objective_seconds: float
    last_backup: LastBackup | None
    last_drill: LastDrill | None
    last_proven: LastDrill | None
    """The last one that was read back completely, at L3 or L4."""
    next_backup: AwareDatetime
    next_drill: AwareDatetime
    continuous: tuple[Window, ...] | None = None
    """Oldest first; None when changes are not shipped."""
    failures: dict[str, Failure]
    """{backup, drill, heartbeat, `copy to NAME`: how}."""


def read(host: Host) -> Facts | None:
    """Return the status that a host's steward wrote; None when there is none, or this version cannot read it."""
    text = host.read(host.environment.directory / paths.FACTS.name / paths.DOCUMENT)
    try:
        return None if text is None else Facts.model_validate_json(text)
    except ValidationError:
        return None


def problems(status: Facts | None, now: datetime) -> Iterator[str]:
    """Yield the problems with the backups."""
    if status is None:
        yield "the steward has not reported; see: ppmctl logs steward"
        return
    yield from ailments(status.model_dump(mode="json"), now)
    if status.last_drill is not None and status.last_drill.outcome == "failed":
        yield f"backup {status.last_drill.id} could not be read back; see docs/runbooks/failed-drill.md"
    for task, failure in status.failures.items():
        yield f"{task} has failed {failure.times} times: {failure.said}"
