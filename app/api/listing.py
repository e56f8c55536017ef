"""Which projects a list shows, and in which order.

Each statement is built once, with parameters for its values, and gives rows: to build it anew, and to make objects of
what it finds, took most of a request's time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import BindParameter, Connection, Row, Select, bindparam, func, or_, select

from app.api.paging import Name, Paging
from app.api.project import ProjectOut, Tag
from app.models import Project, ProjectTag

Order = Literal[
    "created", "-created", "name", "-name", "last_commit", "-last_commit", "commits", "-commits", "scanned", "-scanned"
]
_ORDERS: dict[str, Any] = {
    "created": Project.id,
    "name": Project.name,
    "last_commit": Project.last_commit_at,
    "commits": Project.commits,
    "scanned": Project.scanned_at,
}
TAGS = (
    select(func.aggregate_strings(ProjectTag.tag, ","))
    .where(ProjectTag.project_id == Project.id)
    .scalar_subquery()
    .label("tags")
)
"""The tags of a project, with commas between them, which none of them holds."""
FEW = 2000
"""Projects that a search finds: so many are sorted in less time than it takes to find them in their order."""


class ProjectQuery(Paging):
    """Which of the projects, and in which order."""

    sort: Order = "created"
    """With a minus the largest or newest first; what is unknown counts as smallest."""
    archived: bool = False
    """Those that are archived, instead of the others."""
    name: Name | None = None
    """Only the project with this name."""
    tag: Tag | None = None
    """Only those with this tag."""
    q: Name | None = None
    """Only those with this text in their name or address."""


def shown(by: type[BaseModel]) -> list[Any]:
    """Return the columns that a client is shown, each by the name that the client knows."""
    return [TAGS if name == "tags" else getattr(Project, name).label(name) for name in by.model_fields]


def find(connection: Connection, query: ProjectQuery) -> tuple[list[Row[Any]], int]:
    """Return (a page of the projects that are asked for, how many there are)."""
    values, asked = _values(query)
    sqlite = connection.dialect.name == "sqlite"
    few = _few(connection, _chosen(asked, sqlite=sqlite), values) if query.q is not None else None
    if few is not None:
        values, asked = {**values, "few": few}, frozenset({"few"})
    total = len(few) if few is not None else connection.scalar(_total(asked, sqlite=sqlite), values) or 0
    return list(connection.execute(_page(asked, query.sort, sqlite=sqlite), values)), total


def _values(query: ProjectQuery) -> tuple[dict[str, Any], frozenset[str]]:
    """Return (values of a statement's parameters, the conditions that are asked for)."""
    values = query.model_dump(exclude_none=True)
    if query.q is not None:
        values["pattern"] = "%" + re.sub(r"([/%_])", r"/\1", query.q) + "%"
    asked = {"name", "tag", "pattern"}.intersection(values) | ({"archived"} if query.archived else set())
    return values, frozenset(asked)


@cache
def _chosen(asked: frozenset[str], *, sqlite: bool) -> Select[Any]:
    """Given the conditions that are asked for, return what selects the projects, in no order."""
    chosen = select(*shown(ProjectOut))
    if "few" in asked:
        return chosen.where(Project.id.in_(bindparam("few", expanding=True)))
    chosen = chosen.where(Project.archived.is_("archived" in asked))
    if "name" in asked:
        chosen = chosen.where(Project.name == bindparam("name"))
    if "tag" in asked:
        chosen = chosen.where(Project.id.in_(select(ProjectTag.project_id).where(ProjectTag.tag == bindparam("tag"))))
    if "pattern" in asked:
        # SQLite's LIKE is Postgres's ILIKE. SQLAlchemy would write lower() for that, which takes twice as long.
        pattern: BindParameter[str] = bindparam("pattern")
        names = Project.name, Project.url
        chosen = chosen.where(or_(*(name.like(pattern, "/") if sqlite else name.ilike(pattern, "/") for name in names)))
    return chosen


@cache
def _page(asked: frozenset[str], sort: Order, *, sqlite: bool) -> Select[Any]:
    """Return what selects a page of them."""
    ordered = _chosen(asked, sqlite=sqlite).order_by(*_order(sort))
    return ordered.limit(bindparam("limit")).offset(bindparam("offset"))


@cache
def _total(asked: frozenset[str], *, sqlite: bool) -> Select[int]:
    """Return what counts them. SQLite counts all rows by the page, and those of a condition one by one: of projects
    that are not archived, the most, it is asked for the others."""
    count = select(func.count()).select_from(Project)
    if asked:
        return _chosen(asked, sqlite=sqlite).with_only_columns(func.count(), maintain_column_froms=True)
    archived = count.where(Project.archived.is_(True))
    return select(count.scalar_subquery() - archived.scalar_subquery())


def _few(connection: Connection, chosen: Select[Any], values: dict[str, Any]) -> Sequence[int] | None:
    """Given what a search selects, return the numbers of those projects; None when they are many.

    Every name is read to find them, but once, and nothing else of those that are not among them.
    """
    found = connection.scalars(chosen.with_only_columns(Project.id).limit(FEW + 1), values).all()
    return found if len(found) <= FEW else None


def _order(sort: str) -> tuple[Any, ...]:
    """Return what to order by: for SQLite as for Postgres, what is null is smallest, and no two are equal."""
    column = _ORDERS[sort.removeprefix("-")]
    if sort.startswith("-"):
        return column.desc().nulls_last(), Project.id.desc()
    return column.asc().nulls_first(), Project.id
