"""Projects: add, list, change, scan anew, delete; and the history of their scans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel
from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload, undefer

from app.api.paging import Id, Name, Page, Paging, Since, Slice
from app.api.problems import Problem
from app.api.project import Change, NewProject, ProjectDetail, ProjectOut, ScanOut, Tag, refuse_unreachable
from app.api.state import Given
from app.api.tokens import Reader, Writer
from app.database import Database
from app.models import Project, ProjectTag, Scan, now

router = APIRouter(prefix="/api/projects", tags=["projects"], dependencies=[Reader])
Order = Literal[
    "created", "-created", "name", "-name", "last_commit", "-last_commit", "commits", "-commits", "scanned", "-scanned"
]
_COLUMNS: dict[str, Any] = {
    "created": Project.id,
    "name": Project.name,
    "last_commit": Project.last_commit_at,
    "commits": Project.commits,
    "scanned": Project.scanned_at,
}
_TAGS = selectinload(Project.labels)
FEW = 2000
"""Projects that a search finds: so many are sorted in less time than it takes to find them in their order."""


class ProjectPage(Page[ProjectOut]):
    """Some of the projects."""


class ScanSlice(Slice[ScanOut]):
    """Some of the scans of a project."""


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


class TagOut(BaseModel):
    """A tag."""

    tag: str
    projects: int
    """How many have it, archived ones not counted."""


@router.post("", status_code=201, dependencies=[Writer])
def create(new: NewProject, state: Given, response: Response) -> ProjectOut:
    """Add a project; the worker scans it soon."""
    refuse_unreachable(new.url, state.settings)
    project = Project(name=new.title, url=new.url, labels=[ProjectTag(tag=tag) for tag in new.tags])
    try:
        with state.database.write() as session:
            session.add(project)
    except IntegrityError as conflict:
        raise _taken(state.database, new.title, new.url) from conflict
    response.headers["Location"] = f"{router.prefix}/{project.id}"
    return ProjectOut.model_validate(project)


def _taken(database: Database, name: str | None, url: str | None) -> Problem:
    """Return the problem that says which project has the name or the address already."""
    with database.read() as session:
        other = session.scalar(select(Project).where((Project.url == url) | (Project.name == name)).limit(1))
    if other is None:
        return Problem(409, "another project had this name or address a moment ago; try again")
    what = f"address {url}" if other.url == url else f"name {name}"
    return Problem(409, f"project {other.id} has the {what} already", existing=other.id)


@router.get("")
def index(query: Annotated[ProjectQuery, Query()], state: Given) -> ProjectPage:
    """List projects, with how many there are."""
    chosen = _chosen(query, sqlite=state.database.file is not None)
    with state.database.read() as session:
        few = _few(session, chosen) if query.q is not None else None
        if few is not None:
            chosen = select(Project).where(Project.id.in_(few))
        page = chosen.order_by(*_order(query.sort)).limit(query.limit).offset(query.offset).options(_TAGS)
        total = len(few) if few is not None else _total(session, query, chosen)
        items = [ProjectOut.model_validate(project) for project in session.scalars(page)]
    return ProjectPage(items=items, total=total, limit=query.limit, offset=query.offset)


def _chosen(query: ProjectQuery, *, sqlite: bool) -> Select[Project]:
    """Return what selects the projects, in no order."""
    chosen = select(Project).where(Project.archived.is_(query.archived))
    if query.name is not None:
        chosen = chosen.where(Project.name == query.name)
    if query.tag is not None:
        chosen = chosen.where(Project.id.in_(select(ProjectTag.project_id).where(ProjectTag.tag == query.tag)))
    if query.q is not None:
        pattern = "%" + re.sub(r"([/%_])", r"/\1", query.q) + "%"
        # SQLite's LIKE is Postgres's ILIKE. SQLAlchemy would write lower() for that, which takes twice as long.
        names = Project.name, Project.url
        likes = (name.like(pattern, "/") if sqlite else name.ilike(pattern, "/") for name in names)
        chosen = chosen.where(or_(*likes))
    return chosen


def _count(session: Session, chosen: Select[Project]) -> int:
    return session.scalar(chosen.with_only_columns(func.count(), maintain_column_froms=True)) or 0


def _total(session: Session, query: ProjectQuery, chosen: Select[Project]) -> int:
    """Return how many are chosen. SQLite counts all rows by the page, and those of a condition one by one: of projects
    that are not archived, the most, it is asked for the others."""
    if (query.archived, query.name, query.tag, query.q) != (False, None, None, None):
        return _count(session, chosen)
    return _count(session, select(Project)) - _count(session, select(Project).where(Project.archived.is_(True)))


def _few(session: Session, chosen: Select[Project]) -> Sequence[int] | None:
    """Given what a search selects, return the numbers of those projects; None when they are many.

    Every name is read to find them, but once, and nothing else of those that are not among them.
    """
    found = session.scalars(chosen.with_only_columns(Project.id).limit(FEW + 1)).all()
    return found if len(found) <= FEW else None


def _order(sort: str) -> tuple[Any, ...]:
    """Return what to order by: for SQLite as for Postgres, what is null is smallest, and no two are equal."""
    column = _COLUMNS[sort.removeprefix("-")]
    if sort.startswith("-"):
        return column.desc().nulls_last(), Project.id.desc()
    return column.asc().nulls_first(), Project.id


@router.get("/{id}")
def read(id: Id, state: Given) -> ProjectDetail:
    """Return one project."""
    with state.database.read() as session:
        return ProjectDetail.model_validate(_get(session, id))


def _get(session: Session, id: int, *, to_change: bool = False) -> Project:
    """Return a project with all that is known of it. Raises a Problem when there is none."""
    options = _TAGS, undefer(Project.languages), undefer(Project.manifests)
    project = session.get(Project, id, options=options, with_for_update=to_change or None)
    if project is None:
        raise Problem(404, f"there is no project {id}")
    return project


@router.patch("/{id}", dependencies=[Writer])
def change(id: Id, change: Change, state: Given) -> ProjectDetail:
    """Change a project. With another address, or out of the archive, it is scanned soon."""
    try:
        with state.database.write() as session:
            project = _get(session, id, to_change=True)
            if change.url not in (None, project.url):
                refuse_unreachable(change.url, state.settings)
            _apply(change, project)
    except IntegrityError as conflict:
        raise _taken(state.database, change.name, change.url) from conflict
    return ProjectDetail.model_validate(project)


def _apply(change: Change, project: Project) -> None:
    if change.name is not None:
        project.name = change.name
    if change.tags is not None:
        had = {label.tag: label for label in project.labels}
        project.labels = [had.get(tag) or ProjectTag(tag=tag) for tag in change.tags]
    if change.url is not None and change.url != project.url:
        project.url, project.scan_due_at, project.scan_failures = change.url, now(), 0
    if change.archived is not None and change.archived != project.archived:
        project.archived, project.scan_due_at = change.archived, now()


@router.post("/{id}/scan", status_code=202, dependencies=[Writer])
def scan(id: Id, state: Given) -> ProjectDetail:
    """Let the worker scan a project as soon as it can, whatever its last scan has come to."""
    with state.database.write() as session:
        project = _get(session, id, to_change=True)
        if project.archived:
            raise Problem(409, f"project {id} is archived, and those are not scanned")
        project.scan_due_at = now()
    return ProjectDetail.model_validate(project)


@router.get("/{id}/scans")
def scans(id: Id, query: Annotated[Since, Query()], state: Given) -> ScanSlice:
    """List the scans that found something else than the one before them."""
    chosen = select(Scan).where(Scan.project_id == id).order_by(Scan.id.desc()).limit(query.limit + 1)
    if query.before is not None:
        chosen = chosen.where(Scan.id < query.before)
    with state.database.read() as session:
        found = [ScanOut.model_validate(scan) for scan in session.scalars(chosen)]
        if not found:
            _get(session, id)
    return ScanSlice.of(found, query.limit)


@router.delete("/{id}", status_code=204, dependencies=[Writer])
def remove(id: Id, state: Given) -> None:
    """Delete a project and the record of its scans."""
    with state.database.write() as session:
        if session.scalar(delete(Project).where(Project.id == id).returning(Project.id)) is None:
            raise Problem(404, f"there is no project {id}")


tags = APIRouter(prefix="/api/tags", tags=["projects"], dependencies=[Reader])


@tags.get("")
def tag_index(state: Given) -> list[TagOut]:
    """List the tags, in alphabetical order."""
    counted = select(ProjectTag.tag, func.count()).join(Project, Project.id == ProjectTag.project_id)
    counted = counted.where(Project.archived.is_(False)).group_by(ProjectTag.tag).order_by(ProjectTag.tag)
    with state.database.read() as session:
        return [TagOut(tag=tag, projects=count) for tag, count in session.execute(counted)]
