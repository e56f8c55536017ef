"""What is deployed: a release by its content, and the record of one deployment of it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime

from ppmkit.config.environment import Model

Color = Literal["blue", "green"]
COLORS: tuple[Color, Color] = ("blue", "green")


def other(color: Color) -> Color:
    """Return the colour that ``color`` is not."""
    return "green" if color == "blue" else "blue"


class Images(Model):
    """Image references, each pinned by content: ``sha256:…`` for images that were shipped, else ``name@sha256:…``."""

    api: str
    frontend: str
    steward: str
    traefik: str

    def by_name(self) -> dict[str, str]:
        """Return {name: reference}."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Release(Model):
    """All that decides what runs. ``id`` is the digest of it, so the same content is the same release."""

    id: str
    images: Images
    secrets: dict[str, str]
    """Name to version."""


class Source(Model):
    """Where a release was built from."""

    commit: str | None
    dirty: bool


class StepTime(Model):
    """How one step of an operation went."""

    name: str
    seconds: float
    outcome: str


class Record(Model):
    """``release.json``: one deployment of a release on one host."""

    release: Release
    color: Color
    previous: str | None
    source: Source
    who: str
    when: AwareDatetime
    schema_before: str | None
    schema_after: str | None
    revisions: tuple[str, ...]
    """Of the schema, those that the release knows, oldest first."""
    snapshot: str | None
    """The copy of the database from before its schema changed for this release; on the volume."""
    bytes_sent: int
    steps: tuple[StepTime, ...]

    @property
    def id(self) -> str:
        """The release's id."""
        return self.release.id


def identify(content: Mapping[str, str]) -> str:
    """Given what a release renders to with an empty id, return its id: 12 hex digits."""
    text = json.dumps(dict(sorted(content.items())), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
