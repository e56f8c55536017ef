"""What the steward knows, for others to read: a JSON document, and the same for Prometheus. The document is pure.

Both are files of one folder, replaced as a whole: the steward has no port, since without targets it has no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from .catalog import Backup, Evidence, regular
from .files import published
from .paths import DOCUMENT, METRICS

VERSION = 1
_RESTORED = ("L3", "L4")


class Facts(TypedDict):
    """The document. Times are ISO 8601, UTC."""

    version: int
    written: str
    """It is written anew every minute."""
    since: str
    """When the steward started."""
    objective_seconds: float
    """How old the newest backup may get."""
    last_backup: dict[str, Any] | None
    """{id, at, bytes, verified, seconds}: the newest that is verified; the newest, where none is."""
    last_drill: dict[str, Any] | None
    """{id, at, level, outcome, rto_seconds, rpo_seconds}: when a backup was last read back, and what came of it. RTO is
    what that took, RPO how old the backup was."""
    last_proven: dict[str, Any] | None
    """The same of the last one that was read back whole (L3), or on which the application answered too (L4)."""
    next_backup: str
    next_drill: str
    continuous: Sequence[Mapping[str, str]] | None
    """[{first, last}], oldest first: any moment in between can be had. None: changes are not shipped."""
    failures: dict[str, dict[str, Any]]
    """{task: {times, said}} of what has failed since it last went well: backup, drill, heartbeat, `copy to NAME`."""


class Failure(TypedDict):
    """How often a task has failed in a row, and what it said last."""

    times: int
    said: str


def facts(
    backups: Sequence[Backup],
    failures: Mapping[str, Failure],
    *,
    now: datetime,
    since: datetime,
    objective: timedelta,
    next_backup: datetime,
    next_drill: datetime,
    continuous: Sequence[Mapping[str, str]] | None = None,
) -> Facts:
    """Return the document, given every backup, oldest first."""
    counting = regular(backups)
    newest = next((each for each in reversed(counting) if each.verified), counting[-1] if counting else None)
    readings = [(each, one) for each in backups for one in each.readings]
    readings.sort(key=lambda pair: datetime.fromisoformat(pair[1]["time"]))
    proven = [(each, one) for each, one in readings if one["outcome"] == "ok" and one["level"] in _RESTORED]
    return Facts(
        version=VERSION,
        written=_text(now),
        since=_text(since),
        objective_seconds=objective.total_seconds(),
        last_backup=_backup(newest) if newest else None,
        last_drill=_reading(*readings[-1]) if readings else None,
        last_proven=_reading(*proven[-1]) if proven else None,
        next_backup=_text(next_backup),
        next_drill=_text(next_drill),
        continuous=continuous,
        failures={name: dict(failure) for name, failure in failures.items()},
    )


def _backup(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.id,
        "at": backup.manifest["created"],
        "bytes": backup.manifest["data"]["bytes"],
        "verified": backup.verified,
        "seconds": round(sum(backup.manifest["seconds"].values()), 3),
    }


def _reading(backup: Backup, evidence: Evidence) -> dict[str, Any]:
    old = datetime.fromisoformat(evidence["time"]) - backup.created
    return {
        "id": backup.id,
        "at": evidence["time"],
        "level": evidence["level"],
        "outcome": evidence["outcome"],
        "rto_seconds": evidence["seconds"],
        "rpo_seconds": round(old.total_seconds(), 3),
    }


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def write(folder: Path, found: Facts) -> None:
    """Put the document, and the metrics, in the place of those that are there."""
    with published(folder / DOCUMENT) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_to_textfile(str(folder / METRICS), _metrics(found))


def _metrics(found: Facts) -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, help: str, value: float | None) -> None:
        if value is not None:
            Gauge(f"ppm_backup_{name}", help, registry=registry).set(value)

    made, proven, drilled = found["last_backup"] or {}, found["last_proven"] or {}, found["last_drill"] or {}
    gauge("last_timestamp_seconds", "When the last verified backup was made.", _seconds(made.get("at")))
    gauge("last_bytes", "Its size.", made.get("bytes"))
    gauge("last_duration_seconds", "How long it took to make.", made.get("seconds"))
    gauge("objective_seconds", "How old the last one may get.", found["objective_seconds"])
    gauge("proven_timestamp_seconds", "When one was last restored to a copy and compared.", _seconds(proven.get("at")))
    moments = found["continuous"] or [{}]
    gauge("continuous_timestamp_seconds", "The newest moment that can be had.", _seconds(moments[-1].get("last")))
    gauge("drill_duration_seconds", "How long the last reading back took.", drilled.get("rto_seconds"))
    failing = Gauge("ppm_backup_failures", "Failures of a task in a row.", ["task"], registry=registry)
    for task in ("backup", "drill", *found["failures"]):
        failing.labels(task).set(found["failures"].get(task, {"times": 0})["times"])
    return registry


def _seconds(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()
