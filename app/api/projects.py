"""Projects: create, read, list, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from app.api.problems import Problem
from app.api.state import Given
from app.database import Database
from app.models import Project

router = APIRouter(prefix="/api/projects", tags=["projects"])
LARGEST = 2**63 - 1
"""Of the integers that a database keeps."""
Id = Annotated[int, Path(ge=1, le=LARGEST)]
SCHEMES = ("https", "http", "git")


def _fetchable(url: str) -> str:
    """Given the URL of a repository, return it if git can fetch it without being told a secret."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname or not parts.path.strip("/"):
        raise ValueError(f"not a repository's address; it begins with {', '.join(f'{s}://' for s in SCHEMES)}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a user or a password is not kept: it would end up in logs and backups")
    if " " in url:
        raise ValueError("an address has no spaces")
    return _printable(url)


def _printable(text: str) -> str:
    """Given a text, return it if every character can be seen."""
    if not text.isprintable():
        raise ValueError("there are control characters in it")
    return text


class NewProject(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    url: Annotated[str, Field(max_length=1000), AfterValidator(_fetchable)]
    """The address that git fetches from; no two projects have the same."""
    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)] | None = None
    """Unique; default: host and path of the address."""


class ProjectOut(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    url: str
    created_at: datetime
    scanned_at: datetime | None
    scan_error: str | None
    last_commit: str | None
    last_commit_at: datetime | None
    commits: int | None
    contributors: int | None


class Page(BaseModel):
    """Some of the projects."""

    items: list[ProjectOut]
    total: int
    limit: int
    offset: int


class Paging(BaseModel):
    """Which of the projects; they are in the order of their creation."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    offset: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    name: str | None = None
    """Only the project with this name."""


@router.post("", status_code=201)
def create(new: NewProject, state: Given, response: Response) -> ProjectOut:
    """Add a project; the worker scans it soon."""
    parts = urlsplit(new.url)
    name = new.name or f"{parts.hostname}{parts.path.rstrip('/').removesuffix('.git')}"[:200]
    project = Project(name=name, url=new.url)
    try:
        with state.database.write() as session:
            session.add(project)
    except IntegrityError as conflict:
        raise _taken(state.database, name, new.url) from conflict
    response.headers["Location"] = f"{router.prefix}/{project.id}"
    return ProjectOut.model_validate(project)


def _taken(database: Database, name: str, url: str) -> Problem:
    """Return the problem that says which project has the name or the address already."""
    with database.read() as session:
        other = session.scalar(select(Project).where((Project.url == url) | (Project.name == name)).limit(1))
    if other is None:
        return Problem(409, "another project had this name or address a moment ago; try again")
    what = f"address {url}" if other.url == url else f"name {name}"
    return Problem(409, f"project {other.id} has the {what} already", existing=other.id)


@router.get("")
def index(paging: Annotated[Paging, Query()], state: Given) -> Page:
    """List projects, with how many there are."""
    chosen = select(Project)
    if paging.name is not None:
        chosen = chosen.where(Project.name == paging.name)
    with state.database.read() as session:
        total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
        found = session.scalars(chosen.order_by(Project.id).limit(paging.limit).offset(paging.offset)).all()
        items = [ProjectOut.model_validate(project) for project in found]
    return Page(items=items, total=total, limit=paging.limit, offset=paging.offset)


@router.get("/{id}")
def read(id: Id, state: Given) -> ProjectOut:
    """Return one project."""
    with state.database.read() as session:
        project = session.get(Project, id)
        if project is None:
            raise Problem(404, f"there is no project {id}")
        return ProjectOut.model_validate(project)


@router.delete("/{id}", status_code=204)
def remove(id: Id, state: Given) -> None:
    """Delete a project and the record of its scans."""
    with state.database.write() as session:
        if session.scalar(delete(Project).where(Project.id == id).returning(Project.id)) is None:
            raise Problem(404, f"there is no project {id}")
