"""A project as a client sends and gets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from app.api.paging import Name, Numbered, Printable
from app.api.problems import Problem
from app.repository import fetchable, parse
from app.settings import Settings

WEEKS = 52
URL_BYTES = 2000


def refuse_unreachable(url: str, settings: Settings) -> None:
    """Refuse an address that the worker of this server does not fetch from. Raises a Problem."""
    parts, why = parse(url), None
    if parts.scheme == "file" and not _may_be_read(PurePosixPath(unquote(parts.path)), settings):
        why = "a repository of the server's files is for development only, and below SCAN_FILES"
    elif parts.scheme == "ssh" and not settings.scan_known_hosts:
        why = "this server fetches nothing by SSH: it knows no host's key (SCAN_KNOWN_HOSTS)"
    if why:
        raise Problem(422, why, errors=[{"field": "body.url", "message": why}])


def _may_be_read(path: PurePosixPath, settings: Settings) -> bool:
    folder = settings.scan_files if settings.app_env == "development" else None
    return folder is not None and ".." not in path.parts and path.is_relative_to(folder)


def _distinct(tags: list[str]) -> list[str]:
    return sorted(set(tags))


def weeks(activity: object) -> object:
    """Given the commits of each week that has any, by its Monday, return those of a year, this week's last."""
    if not isinstance(activity, dict):
        return activity
    today = datetime.now(UTC).date()
    monday = today - timedelta(days=today.weekday())
    return [activity.get((monday - timedelta(weeks=ago)).isoformat(), 0) for ago in range(WEEKS - 1, -1, -1)]


def _names(tags: object) -> object:
    """Given tags as the database joins them, return them one by one, in alphabetical order."""
    return sorted(tags.split(",")) if isinstance(tags, str) else tags or []


def _indexable(url: str) -> str:
    """Given an address, return it if an index of Postgres holds it, whose rows have 2700 bytes at most."""
    if (length := len(url.encode())) > URL_BYTES:
        raise ValueError(f"an address has at most {URL_BYTES} bytes of UTF-8, and this one {length}")
    return url


Url = Annotated[
    str,
    Field(max_length=1000, description=f"At most {URL_BYTES} bytes of UTF-8."),
    AfterValidator(fetchable),
    Printable,
    AfterValidator(_indexable),
]
Tag = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=50)
]
Tags = Annotated[list[Tag], Field(max_length=20), AfterValidator(_distinct)]


class NewProject(BaseModel):
    """A project to keep an eye on."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [{"url": "https://github.com/pallets/flask.git", "name": "flask", "tags": ["python", "web"]}]
        },
    )

    url: Url
    """The address that git fetches from; no two projects have the same."""
    name: Name | None = None
    """Unique; default: host and path of the address."""
    tags: Tags = []

    @property
    def title(self) -> str:
        """What the project is called."""
        parts = parse(self.url)
        return self.name or f"{parts.hostname or ''}{parts.path.rstrip('/').removesuffix('.git')}"[:200]


class Change(BaseModel):
    """What is to be different; what is not sent, or null, stays."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"tags": ["legacy"], "archived": True}]},
    )

    url: Url | None = None
    name: Name | None = None
    tags: Tags | None = None
    archived: bool | None = None


class ProjectOut(Numbered):
    """A project, with what its last good scan found."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "name": "flask",
                    "url": "https://github.com/pallets/flask.git",
                    "tags": ["python", "web"],
                    "archived": False,
                    "created_at": "2026-01-05T08:00:00Z",
                    "scanned_at": "2026-01-05T09:00:00Z",
                    "scan_error": None,
                    "last_commit": "2fec0b206c6e83ea813ab26597e15c96fab08be7",
                    "last_commit_at": "2026-01-04T18:31:08Z",
                    "commits": 5432,
                    "contributors": 891,
                    "files": 236,
                    "size_bytes": 1824000,
                    "todos": 3,
                    "language": "Python",
                    "license": "BSD-3-Clause",
                    "activity": [0, 4, 2, 7],
                }
            ]
        },
    )

    name: str
    url: str
    tags: Annotated[list[str], BeforeValidator(_names)]
    archived: bool
    created_at: datetime
    scanned_at: datetime | None
    scan_error: str | None
    """Why the last scan failed; what the one before it found stays."""
    last_commit: str | None
    last_commit_at: datetime | None
    commits: int | None
    contributors: int | None
    files: int | None
    size_bytes: int | None
    """Of its code."""
    todos: int | None
    """How often TODO, FIXME or XXX stands in its code."""
    language: str | None
    """Which most of its code is in."""
    license: str | None
    """By its SPDX identifier."""
    activity: Annotated[list[int] | None, BeforeValidator(weeks)]
    """Commits of each week of a year; this week's are the last."""


class ProjectDetail(ProjectOut):
    """All that is known of a project."""

    scan_due_at: datetime
    languages: dict[str, int] | None
    """Bytes of code in each language."""
    manifests: list[str] | None
    """Paths of the files that name what it depends on."""


class ScanOut(Numbered):
    """A scan that found something else than the one before it."""

    model_config = ConfigDict(from_attributes=True)

    started_at: datetime
    finished_at: datetime
    error: str | None
    last_commit: str | None
    commits: int | None
    contributors: int | None
    files: int | None
    size_bytes: int | None
    todos: int | None
