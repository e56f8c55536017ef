"""What the steward is told by its Compose file: one JSON document in the variable STEWARD."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backup import Wishes
from .pace import WAL_CAP
from .retention import Policy

BACKUPS = Path("/backups")


@dataclass(frozen=True)
class Settings:
    """Everything about the backups of one environment."""

    database: Path
    backups: Path = BACKUPS
    wishes: Wishes = field(default_factory=Wishes)
    policy: Policy = field(default_factory=Policy)
    targets: dict[str, str] = field(default_factory=dict)
    """{name: remote of rclone.conf and path there}."""


def settings() -> Settings:
    """Return the settings. Raises KeyError or ValueError when the Compose file is of another version."""
    told: dict[str, Any] = json.loads(os.environ["STEWARD"])
    return Settings(
        database=Path(told["database"]),
        backups=Path(told.get("backups", BACKUPS)),
        wishes=Wishes(
            recipients=tuple(told["recipients"]),
            deadline=float(told["deadline"]),
            wal_cap=int(told.get("wal_cap", WAL_CAP)),
            rate=told["rate"],
        ),
        policy=Policy(**told["keep"]),
        targets=dict(told.get("targets", {})),
    )
