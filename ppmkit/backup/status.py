"""What a host's steward knows of its backups, as it writes it down there every minute. The verdict is pure."""

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
    """A part of the document; a newer steward may say more."""

    model_config = ConfigDict(extra="ignore")


class Made(_Part):
    """The newest backup that is verified; the newest, where none is."""

    id: str
    at: AwareDatetime
    """What it holds is of then."""
    bytes: int
    verified: bool
    seconds: float
    """How long it took to make."""


class Reading(_Part):
    """A backup was read back."""

    id: str
    at: AwareDatetime
    level: str
    """How far: L0 its hash, L1 decoded, L2 sound, L3 equal in every table, L4 the application answered."""
    outcome: Literal["ok", "failed", "inconclusive"]
    rto_seconds: float
    """How long that took."""
    rpo_seconds: float
    """How old it was: what was written since would have been lost."""


class Failure(_Part):
    """A task that has not gone well since."""

    times: int
    said: str


class Moments(_Part):
    """Any moment from the one to the other can be had."""

    first: AwareDatetime
    last: AwareDatetime


class Facts(_Part):
    """``facts/backups.json`` on a host."""

    written: AwareDatetime
    since: AwareDatetime
    """When the steward started."""
    objective_seconds: float
    last_backup: Made | None
    last_drill: Reading | None
    last_proven: Reading | None
    """The last one that was read back whole, at L3 or L4."""
    next_backup: AwareDatetime
    next_drill: AwareDatetime
    continuous: tuple[Moments, ...] | None = None
    """Oldest first; None: changes are not shipped."""
    failures: dict[str, Failure]
    """{backup, drill, heartbeat, `copy to NAME`: how}."""


def read(host: Host) -> Facts | None:
    """Return what the steward of a host has written down; None when that is nothing, or not of this version."""
    text = host.read(host.environment.directory / paths.FACTS.name / paths.DOCUMENT)
    try:
        return None if text is None else Facts.model_validate_json(text)
    except ValidationError:
        return None


def problems(found: Facts | None, now: datetime) -> Iterator[str]:
    """Yield what is not as it should be."""
    if found is None:
        yield "the steward has said nothing; see: ppmctl logs steward"
        return
    yield from ailments(found.model_dump(mode="json"), now)
    if found.last_drill is not None and found.last_drill.outcome == "failed":
        yield f"backup {found.last_drill.id} could not be read back; see docs/runbooks/failed-drill.md"
    for task, failure in found.failures.items():
        yield f"{task} has failed {failure.times} times: {failure.said}"
