"""Projects: add, list, change, scan again, delete; and their scan history."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel
from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from app.api import listing
from app.api.listing import ProjectQuery
from app.api.paging import Id, Page, Since, Slice
from app.api.problems import Problem
from app.api.project import Change, NewProject, ProjectDetail, ProjectOut, ScanOut, refuse_unreachable
from app.api.route import Route
from app.api.state import Given
from app.api.tokens import Reader, Writer
from app.database import Database
from app.models import Project, ProjectTag, Scan, now

router = APIRouter(route_class=Route, prefix="/api/projects", tags=["projects"], dependencies=[Reader])
# Built once, and returning rows, as in listing.py.
_ONE = select(*listing.shown(ProjectDetail)).where(Project.id == bindparam("id"))
_NEW = insert(Project).returning(*(column for column in listing.shown(ProjectOut) if column is not listing.TAGS))


class ProjectPage(Page[ProjectOut]):
    """A page of projects."""


class ScanSlice(Slice[ScanOut]):
    """Part of a project's scan history."""


class TagOut(BaseModel):
    """A tag."""

    tag: str
    projects: int
    """The number of projects with this tag, not counting archived ones."""


@router.post("", status_code=201, dependencies=[Writer])
def create(new: NewProject, state: Given, response: Response) -> ProjectOut:
    """Add a project. The worker will scan it soon."""
    refuse_unreachable(new.url, state.settings)
    try:
        with state.database.write() as session:
            connection = session.connection()
            row = connection.execute(_NEW, {"name": new.title, "url": new.url}).one()
            if new.tags:
                connection.execute(insert(ProjectTag), [{"project_id": row.id, "tag": tag} for tag in new.tags])
    except IntegrityError as conflict:
        raise _taken(state.database, new.title, new.url) from conflict
    response.headers["Location"] = f"{router.prefix}/{row.id}"
    return ProjectOut.model_validate({**row._mapping, "tags": new.tags})


def _taken(database: Database, name: str | None, url: str | None) -> Problem:
    """Return the problem that says which project already has the name or the address."""
    with database.read() as session:
        other = session.scalar(select(Project).where((Project.url == url) | (Project.name == name)).limit(1))
    if other is None:
        return Problem(409, "another project had this name or address a moment ago; try again")
    what = f"address {url}" if other.url == url else f"name {name}"
    return Problem(409, f"project {other.id} already has the {what}", existing=other.id)


@router.get("")
def index(query: Annotated[ProjectQuery, Query()], state: Given) -> ProjectPage:
    """List projects, with their total number."""
    with state.database.read() as session:
        rows, total = listing.find(session.connection(), query)
    items = [ProjectOut.model_validate(row) for row in rows]
    return ProjectPage(items=items, total=total, limit=query.limit, offset=query.offset)


@router.get("/{id}")
def read(id: Id, state: Given) -> ProjectDetail:
    """Return one project."""
    with state.database.read() as session:
        return _read(session, id)


def _read(session: Session, id: int) -> ProjectDetail:
    """Return a project with all its details. Raises a Problem when there is none."""
    row = session.connection().execute(_ONE, {"id": id}).one_or_none()
    if row is None:
        raise _missing(id)
    return ProjectDetail.model_validate(row)


def _get(session: Session, id: int) -> Project:
    """Return a project to change, and lock its row. Raises a Problem when there is none."""
    project = session.get(Project, id, options=[selectinload(Project.labels)], with_for_update=True)
    if project is None:
        raise _missing(id)
    return project


def _missing(id: int) -> Problem:
    return Problem(404, f"there is no project {id}")


@router.patch("/{id}", dependencies=[Writer])
def change(id: Id, change: Change, state: Given) -> ProjectDetail:
    """Change a project. If its address changes or it is unarchived, the worker will scan it soon."""
    try:
        with state.database.write() as session:
            project = _get(session, id)
            if change.url not in (None, project.url):
                refuse_unreachable(change.url, state.settings)
            _apply(change, project)
            session.flush()
            return _read(session, id)
    except IntegrityError as conflict:
        raise _taken(state.database, change.name, change.url) from conflict


def _apply(change: Change, project: Project) -> None:
    if change.name is not None:
        project.name = change.name
    if change.tags is not None:
        labels = {label.tag: label for label in project.labels}
        project.labels = [labels.get(tag) or ProjectTag(tag=tag) for tag in change.tags]
    if change.url is not None and change.url != project.url:
        project.url, project.scan_due_at, project.scan_failures = change.url, now(), 0
    if change.archived is not None and change.archived != project.archived:
        project.archived, project.scan_due_at = change.archived, now()


@router.post("/{id}/scan", status_code=202, dependencies=[Writer])
def scan(id: Id, state: Given) -> ProjectDetail:
    """Have the worker scan a project as soon as possible, whatever the outcome of its last scan."""
    with state.database.write() as session:
        project = _get(session, id)
        if project.archived:
            raise Problem(409, f"project {id} is archived; archived projects are not scanned")
        project.scan_due_at = now()
        session.flush()
        return _read(session, id)


@router.get("/{id}/scans")
def scans(id: Id, query: Annotated[Since, Query()], state: Given) -> ScanSlice:
    """List the scans whose results differ from those of the scan before them."""
    chosen = select(Scan).where(Scan.project_id == id).order_by(Scan.id.desc()).limit(query.limit + 1)
    if query.before is not None:
        chosen = chosen.where(Scan.id < query.before)
    with state.database.read() as session:
        history = [ScanOut.model_validate(scan) for scan in session.scalars(chosen)]
        if not history:
            _read(session, id)
    return ScanSlice.of(history, query.limit)


@router.delete("/{id}", status_code=204, dependencies=[Writer])
def remove(id: Id, state: Given) -> None:
    """Delete a project and its scan history."""
    with state.database.write() as session:
        if session.scalar(delete(Project).where(Project.id == id).returning(Project.id)) is None:
            raise _missing(id)


tags = APIRouter(route_class=Route, prefix="/api/tags", tags=["projects"], dependencies=[Reader])


@tags.get("")
def tag_index(state: Given) -> list[TagOut]:
    """List the tags in alphabetical order."""
    counted = select(ProjectTag.tag, func.count()).join(Project, Project.id == ProjectTag.project_id)
    counted = counted.where(Project.archived.is_(False)).group_by(ProjectTag.tag).order_by(ProjectTag.tag)
    with state.database.read() as session:
        return [TagOut(tag=tag, projects=count) for tag, count in session.execute(counted)]
