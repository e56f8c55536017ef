"""What the steward is told: one JSON document, in the file that the variable STEWARD names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from .backup import Wishes
from .paths import BACKUPS, FACTS
from .retention import Policy
from .throttle import WAL_CAP

PATIENCE_SECONDS = 300
"""How long one that ppmctl asks for waits for one of the schedule, and the other way round."""


@dataclass(frozen=True)
class Shipped:
    """That every change is shipped as it is made."""

    keep: timedelta
    """How far back a moment can be had, at the least."""
    interval: timedelta
    """How often what was written is shipped."""


@dataclass(frozen=True)
class Settings:
    """Everything about the backups of one environment."""

    database: Path
    backups: Path = BACKUPS
    wishes: Wishes = field(default_factory=Wishes)
    policy: Policy = field(default_factory=Policy)
    targets: dict[str, str] = field(default_factory=dict)
    """{name: remote of rclone.conf and path there}."""
    facts: Path = FACTS
    at: tuple[str, ...] = ()
    """When backups are made: times of day, UTC."""
    drill: str = ""
    """When one is read back: a weekday and a time, UTC."""
    objective: timedelta = timedelta.max
    """How old the newest backup may get."""
    heartbeat: Path | None = None
    """The file with the URL that is asked for after each backup."""
    continuous: Shipped | None = None


def settings() -> Settings:
    """Return the settings. Raises OSError, KeyError or ValueError when the file is not there, or of another version."""
    told: dict[str, Any] = json.loads(Path(os.environ["STEWARD"]).read_text(encoding="utf-8"))
    return Settings(
        database=Path(told["database"]),
        backups=Path(told.get("backups", BACKUPS)),
        wishes=Wishes(
            recipients=tuple(told["recipients"]),
            deadline=float(told["deadline"]),
            wal_cap=int(told.get("wal_cap", WAL_CAP)),
            rate=told["rate"],
            patience=PATIENCE_SECONDS,
        ),
        policy=Policy(**{rule.name: told["keep"].get(rule.name, 0) for rule in fields(Policy)}),
        targets=dict(told.get("targets", {})),
        facts=Path(told.get("facts", FACTS)),
        at=tuple(told.get("at", ())),
        drill=told.get("drill", ""),
        objective=timedelta(seconds=told.get("objective", 0)),
        heartbeat=Path(told["heartbeat"]) if told.get("heartbeat") else None,
        continuous=_shipped(told.get("continuous")),
    )


def _shipped(told: dict[str, float] | None) -> Shipped | None:
    return None if told is None else Shipped(**{name: timedelta(seconds=value) for name, value in told.items()})
