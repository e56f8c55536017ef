"""An image's report on its migrations."""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter

from ppmkit.config.environment import Model


class Revision(Model):
    """One migration that the database lacks."""

    revision: str
    compatibility: Literal["expand", "breaking"]
    """`expand`: the old release can run with it. `breaking`: it cannot, or the migration does not say so."""
    summary: str


REVISIONS = TypeAdapter(tuple[Revision, ...])


class Migrations(Model):
    """The database's revision compared with the image's."""

    current: str | None
    head: str
    pending: tuple[Revision, ...]
    known: tuple[str, ...]
    """The revisions that the image knows, oldest first."""
    irreversible: tuple[str, ...]
    """The known revisions that cannot be reverted."""
    misfit: str | None
    """Why the image can neither run on the database nor migrate it."""

    @property
    def breaking(self) -> tuple[Revision, ...]:
        """The pending revisions that the old release cannot run on."""
        return tuple(revision for revision in self.pending if revision.compatibility == "breaking")
