"""Findings of an operation's steps. The journal keeps them for the process that resumes the operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import ConfigDict

from ppmkit.config.environment import Model
from ppmkit.operation.journal import Way


class Findings(Model):
    """The steps' findings; a field is None until a step has set it."""

    model_config = ConfigDict(extra="ignore")  # a newer ppmctl may have more findings

    watched: str | None = None
    """When the proxy began to log requests: ISO 8601, UTC."""
    schema_before: str | None = None
    """The database's revision when the operation began."""
    schema_after: str | None = None
    """Its revision when the operation ends."""
    revisions: tuple[str, ...] | None = None
    """The revisions that the new release knows, oldest first."""
    way: Way | None = None
    """How the database changes."""
    change: str | None = None
    """What changes in it, as text."""
    predicted: float | None = None
    """Seconds that the change took in the rehearsal."""
    snapshot_seconds: float | None = None
    """Seconds that the snapshot took."""
    held: float | None = None
    """Seconds that requests waited, at most."""
    failed: str | None = None
    """What failed while requests waited, as text; empty when nothing did."""
    filed: str | None = None
    """The id of the backup that the snapshot became."""
    safety: str | None = None
    """Where the replaced database is now, as text."""

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> Self:
        """Given the texts of a journal, return the findings."""
        values = {name: value.split() if name == "revisions" else value for name, value in texts.items()}
        return cls.model_validate(values)

    def texts(self) -> dict[str, str]:
        """Return the findings as the journal holds them: {name: text}."""
        known = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        return {name: " ".join(value) if isinstance(value, tuple) else f"{value}" for name, value in known.items()}

    def updated(self, newer: Findings) -> Self:
        """Return these findings, updated with the fields that ``newer`` sets."""
        return self.model_copy(update={name: getattr(newer, name) for name in newer.model_fields_set})
