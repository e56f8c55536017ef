"""Which projects a list shows, and in which order.

Each statement is built once, with parameters for its values, and returns rows: building it for each request, and
turning its rows into ORM objects, took most of a request's time.
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
"""A project's tags, joined by commas, which no tag contains."""
FEW = 2000
"""Up to this many search results are sorted afterwards: that is faster than searching in the requested order."""


class ProjectQuery(Paging):
    """Which projects to list, and in which order."""

    sort: Order = "created"
    """With a minus, the largest or newest first; unknown values count as smallest."""
    archived: bool = False
    """Only archived projects, instead of only the others."""
    name: Name | None = None
    """Only the project with this name."""
    tag: Tag | None = None
    """Only projects with this tag."""
    q: Name | None = None
    """Only projects with this text in their name or address."""


def shown(by: type[BaseModel]) -> list[Any]:
    """Return the columns of a response model, each labeled with its field's name."""
    return [TAGS if name == "tags" else getattr(Project, name).label(name) for name in by.model_fields]


def find(connection: Connection, query: ProjectQuery) -> tuple[list[Row[Any]], int]:
    """Return (a page of the matching projects, the number of all matching projects)."""
    values, conditions = _values(query)
    sqlite = connection.dialect.name == "sqlite"
    few = _few(connection, _chosen(conditions, sqlite=sqlite), values) if query.q is not None else None
    if few is not None:
        values, conditions = {**values, "few": few}, frozenset({"few"})
    total = len(few) if few is not None else connection.scalar(_total(conditions, sqlite=sqlite), values) or 0
    return list(connection.execute(_page(conditions, query.sort, sqlite=sqlite), values)), total


def _values(query: ProjectQuery) -> tuple[dict[str, Any], frozenset[str]]:
    """Return (the values of a statement's parameters, the names of its conditions)."""
    values = query.model_dump(exclude_none=True)
    if query.q is not None:
        values["pattern"] = "%" + re.sub(r"([/%_])", r"/\1", query.q) + "%"
    conditions = {"name", "tag", "pattern"}.intersection(values) | ({"archived"} if query.archived else set())
    return values, frozenset(conditions)


@cache
def _chosen(conditions: frozenset[str], *, sqlite: bool) -> Select[Any]:
    """Given the names of the conditions, return the statement that selects the projects, unordered."""
    chosen = select(*shown(ProjectOut))
    if "few" in conditions:
        return chosen.where(Project.id.in_(bindparam("few", expanding=True)))
    chosen = chosen.where(Project.archived.is_("archived" in conditions))
    if "name" in conditions:
        chosen = chosen.where(Project.name == bindparam("name"))
    if "tag" in conditions:
        chosen = chosen.where(Project.id.in_(select(ProjectTag.project_id).where(ProjectTag.tag == bindparam("tag"))))
    if "pattern" in conditions:
        # SQLite's LIKE ignores case, as Postgres's ILIKE does. SQLAlchemy's ilike() would use lower() on SQLite, which
        # takes twice as long.
        pattern: BindParameter[str] = bindparam("pattern")
        names = Project.name, Project.url
        chosen = chosen.where(or_(*(name.like(pattern, "/") if sqlite else name.ilike(pattern, "/") for name in names)))
    return chosen


@cache
def _page(conditions: frozenset[str], sort: Order, *, sqlite: bool) -> Select[Any]:
    """Return the statement that selects a page of the projects."""
    ordered = _chosen(conditions, sqlite=sqlite).order_by(*_order(sort))
    return ordered.limit(bindparam("limit")).offset(bindparam("offset"))


@cache
def _total(conditions: frozenset[str], *, sqlite: bool) -> Select[int]:
    """Return the statement that counts the projects. SQLite counts all rows of a table page by page, but rows that meet
    a condition one by one. Most projects are not archived, so their number is all projects minus the archived ones."""
    count = select(func.count()).select_from(Project)
    if conditions:
        return _chosen(conditions, sqlite=sqlite).with_only_columns(func.count(), maintain_column_froms=True)
    archived = count.where(Project.archived.is_(True))
    return select(count.scalar_subquery() - archived.scalar_subquery())


def _few(connection: Connection, chosen: Select[Any], values: dict[str, Any]) -> Sequence[int] | None:
    """Given the statement of a search, return the ids of the projects that it selects; None when there are too many.

    This reads every name, but only once, and nothing else of the projects that do not match.
    """
    ids = connection.scalars(chosen.with_only_columns(Project.id).limit(FEW + 1), values).all()
    return ids if len(ids) <= FEW else None


def _order(sort: str) -> tuple[Any, ...]:
    """Return the columns to order by. On SQLite and on Postgres, nulls come as smallest, and no two rows are equal."""
    column = _ORDERS[sort.removeprefix("-")]
    if sort.startswith("-"):
        return column.desc().nulls_last(), Project.id.desc()
    return column.asc().nulls_first(), Project.id
