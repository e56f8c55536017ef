"""What lists have in common: numbers and names that can be, pages of a limited size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Self, TypeVar

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST = 2**63 - 1
"""Of the numbers that rows have."""
FURTHEST = 2**31 - 1
"""Of the rows that are passed over: nobody waits for that many."""
Item = TypeVar("Item")


def _printable(text: str) -> str:
    """Given a text, return it if every character can be seen."""
    if not text.isprintable():
        raise ValueError("there are control characters in it")
    return text


Printable = AfterValidator(_printable)
Id = Annotated[int, Path(ge=1, le=LARGEST)]
Name = Annotated[str, Field(min_length=1, max_length=200), Printable]
Limit = Annotated[int, Field(ge=1, le=200)]


class Paging(BaseModel):
    """Which part of a list."""

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
    """Which part of a history, the newest first."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    before: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    """Only what is older than the item with this id."""


class Numbered(BaseModel):
    """An item of a history."""

    id: int


Event = TypeVar("Event", bound=Numbered)


class Slice(BaseModel, Generic[Event]):
    """Part of a history. It has no total: to count one that grows for ever takes ever longer."""

    items: list[Event]
    next: int | None
    """What to send as `before` for the items after these; null when these are the last."""

    @classmethod
    def of(cls, found: Sequence[Event], limit: int) -> Self:
        """Given the items that were asked for, and one more if there are more, return the slice."""
        shown = list(found[:limit])
        return cls(items=shown, next=shown[-1].id if len(found) > limit else None)
