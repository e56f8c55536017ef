"""What an image says of its migrations."""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter

from ppmkit.config.environment import Model


class Revision(Model):
    """One migration that the database lacks."""

    revision: str
    compatibility: Literal["expand", "breaking"]
    """`expand`: the old release runs on it. `breaking`: it does not, or nobody says so."""
    summary: str


REVISIONS = TypeAdapter(tuple[Revision, ...])


class Migrations(Model):
    """The database's revision against the image's."""

    current: str | None
    head: str
    pending: tuple[Revision, ...]
    known: tuple[str, ...]
    """The image's own revisions, oldest first."""
    irreversible: tuple[str, ...]
    """Those of them that cannot be taken back."""
    misfit: str | None
    """Why the image can neither run on the database nor mend that."""

    @property
    def breaking(self) -> tuple[Revision, ...]:
        """The pending revisions that the old release cannot run on."""
        return tuple(revision for revision in self.pending if revision.compatibility == "breaking")
