"""Shared parts of lists: valid ids and names, and pages of a limited size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Self, TypeVar

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST = 2**63 - 1
"""The largest row id."""
FURTHEST = 2**31 - 1
"""The largest offset: skipping more rows would take longer than any client waits."""
Item = TypeVar("Item")


def _printable(text: str) -> str:
    """Return a text if all its characters are printable. Raises ValueError."""
    if not text.isprintable():
        raise ValueError("it contains control characters")
    return text


Printable = AfterValidator(_printable)
Id = Annotated[int, Path(ge=1, le=LARGEST)]
Name = Annotated[str, Field(min_length=1, max_length=200), Printable]
Limit = Annotated[int, Field(ge=1, le=200)]


class Paging(BaseModel):
    """Which part of a list to return."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    offset: Annotated[int, Field(ge=0, le=FURTHEST)] = 0


class Page(BaseModel, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    total: int
    limit: int
    offset: int


class Since(BaseModel):
    """Which part of a history to return, newest first."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    before: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    """Only items older than the item with this id."""


class Numbered(BaseModel):
    """An item of a history."""

    id: int


Event = TypeVar("Event", bound=Numbered)


class Slice(BaseModel, Generic[Event]):
    """Part of a history. It has no total: counting a history that keeps growing would take longer and longer."""

    items: list[Event]
    next: int | None
    """The value of `before` that returns the next items; null when these are the last."""

    @classmethod
    def of(cls, items: Sequence[Event], limit: int) -> Self:
        """Given the requested items, plus one more if there are more, return the slice."""
        included = list(items[:limit])
        return cls(items=included, next=included[-1].id if len(items) > limit else None)
