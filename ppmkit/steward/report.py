"""The steward's report: a JSON document, and the same data as Prometheus metrics. The document is computed purely.

Both are files in one folder and are replaced atomically. The steward has no port, because without targets it has no
network.
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
    """It is rewritten every minute."""
    since: str
    """When the steward started."""
    objective_seconds: float
    """Maximum age of the newest backup."""
    last_backup: dict[str, Any] | None
    """{id, at, bytes, verified, seconds}: the newest verified backup; the newest one if none is verified."""
    last_drill: dict[str, Any] | None
    """{id, at, level, outcome, rto_seconds, rpo_seconds}: the last verification of a backup after its creation. RTO is
    its duration, RPO the age of the backup."""
    last_proven: dict[str, Any] | None
    """The same for the last backup that was fully verified (L3) or on which the application answered, too (L4)."""
    next_backup: str
    next_drill: str
    continuous: Sequence[Mapping[str, str]] | None
    """[{first, last}], oldest first: any time in between can be restored. None: changes are not shipped."""
    failures: dict[str, dict[str, Any]]
    """{task: {times, said}} of tasks that failed since their last success: backup, drill, heartbeat, `copy to NAME`."""


class Failure(TypedDict):
    """The number of consecutive failures of a task, and its last error."""

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
    """Given all backups, oldest first, return the document."""
    current = regular(backups)
    newest = next((each for each in reversed(current) if each.verified), current[-1] if current else None)
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
    age = datetime.fromisoformat(evidence["time"]) - backup.created
    return {
        "id": backup.id,
        "at": evidence["time"],
        "level": evidence["level"],
        "outcome": evidence["outcome"],
        "rto_seconds": evidence["seconds"],
        "rpo_seconds": round(age.total_seconds(), 3),
    }


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def write(folder: Path, document: Facts) -> None:
    """Replace the document and the metrics."""
    with published(folder / DOCUMENT) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    write_to_textfile(str(folder / METRICS), _metrics(document))


def _metrics(document: Facts) -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, help: str, value: float | None) -> None:
        if value is not None:
            Gauge(f"ppm_backup_{name}", help, registry=registry).set(value)

    backup, proven, drill = document["last_backup"] or {}, document["last_proven"] or {}, document["last_drill"] or {}
    gauge("last_timestamp_seconds", "Time of the last verified backup.", _seconds(backup.get("at")))
    gauge("last_bytes", "Size of the last verified backup.", backup.get("bytes"))
    gauge("last_duration_seconds", "Duration of the last verified backup.", backup.get("seconds"))
    gauge("objective_seconds", "Maximum age of the last backup.", document["objective_seconds"])
    gauge("proven_timestamp_seconds", "Time of the last successful test restore.", _seconds(proven.get("at")))
    spans = document["continuous"] or [{}]
    gauge("continuous_timestamp_seconds", "The newest time that can be restored.", _seconds(spans[-1].get("last")))
    gauge("drill_duration_seconds", "Duration of the last drill.", drill.get("rto_seconds"))
    failing = Gauge("ppm_backup_failures", "Consecutive failures of a task.", ["task"], registry=registry)
    for task in ("backup", "drill", *document["failures"]):
        failing.labels(task).set(document["failures"].get(task, {"times": 0})["times"])
    return registry


def _seconds(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()
