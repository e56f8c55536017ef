"""Models of a release, identified by its content, and of the record of one deployment. Pure."""

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
    """Return the other color."""
    return "green" if color == "blue" else "blue"


class Images(Model):
    """Image references, each pinned by digest: ``sha256:…`` for shipped images, else ``name@sha256:…``."""

    api: str
    frontend: str
    steward: str
    traefik: str

    def by_name(self) -> dict[str, str]:
        """Return {name: reference}."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Release(Model):
    """Everything that determines what runs. ``id`` is its digest, so the same content is the same release."""

    id: str
    images: Images
    secrets: dict[str, str]
    """Name to version."""


class Source(Model):
    """The commit that a release was built from."""

    commit: str | None
    dirty: bool


class StepTime(Model):
    """Duration and outcome of one step of an operation."""

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
    """The schema revisions that the release knows, oldest first."""
    snapshot: str | None
    """The copy of the database, on the volume, from before this release's migrations."""
    bytes_sent: int
    steps: tuple[StepTime, ...]

    @property
    def id(self) -> str:
        """The release's id."""
        return self.release.id


def identify(content: Mapping[str, str]) -> str:
    """Given a release's files, rendered with an empty id, return its id: 12 hex digits."""
    text = json.dumps(dict(sorted(content.items())), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
