"""The steward's settings: one JSON document, in the file that the variable STEWARD names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from .backup import Options
from .paths import BACKUPS, FACTS
from .retention import Policy
from .throttle import WAL_CAP

LOCK_TIMEOUT_SECONDS = 300
"""How long ppmctl's commands wait for scheduled tasks, and vice versa."""


@dataclass(frozen=True)
class Continuous:
    """Settings for shipping every change."""

    keep: timedelta
    """The minimum period that can be restored."""
    interval: timedelta
    """How often changes are shipped."""


@dataclass(frozen=True)
class Settings:
    """All backup settings of one environment."""

    database: Path
    backups: Path = BACKUPS
    options: Options = field(default_factory=Options)
    policy: Policy = field(default_factory=Policy)
    targets: dict[str, str] = field(default_factory=dict)
    """{name: remote in rclone.conf, with a path}."""
    facts: Path = FACTS
    at: tuple[str, ...] = ()
    """When backups are created: times of day, UTC."""
    drill: str = ""
    """When a backup is verified again: a weekday and a time, UTC."""
    objective: timedelta = timedelta.max
    """Maximum age of the newest backup."""
    heartbeat: Path | None = None
    """The file with the URL that is requested after each backup."""
    continuous: Continuous | None = None


def settings() -> Settings:
    """Return the settings. Raises OSError, KeyError or ValueError if the file is missing or of another version."""
    document: dict[str, Any] = json.loads(Path(os.environ["STEWARD"]).read_text(encoding="utf-8"))
    return Settings(
        database=Path(document["database"]),
        backups=Path(document.get("backups", BACKUPS)),
        options=Options(
            recipients=tuple(document["recipients"]),
            deadline=float(document["deadline"]),
            wal_cap=int(document.get("wal_cap", WAL_CAP)),
            rate=document["rate"],
            lock_timeout=LOCK_TIMEOUT_SECONDS,
        ),
        policy=Policy(**{rule.name: document["keep"].get(rule.name, 0) for rule in fields(Policy)}),
        targets=dict(document.get("targets", {})),
        facts=Path(document.get("facts", FACTS)),
        at=tuple(document.get("at", ())),
        drill=document.get("drill", ""),
        objective=timedelta(seconds=document.get("objective", 0)),
        heartbeat=Path(document["heartbeat"]) if document.get("heartbeat") else None,
        continuous=_continuous(document.get("continuous")),
    )


def _continuous(section: dict[str, float] | None) -> Continuous | None:
    if section is None:
        return None
    return Continuous(**{name: timedelta(seconds=value) for name, value in section.items()})
