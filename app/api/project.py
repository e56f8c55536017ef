"""A project in requests and responses."""

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
    """Refuse an address that this server's worker does not fetch from. Raises a Problem."""
    parts, reason = parse(url), None
    if parts.scheme == "file" and not _may_be_read(PurePosixPath(unquote(parts.path)), settings):
        reason = "a repository on the server's disk is for development only, and must be below SCAN_FILES"
    elif parts.scheme == "ssh" and not settings.scan_known_hosts:
        reason = "this server does not fetch by SSH: it has no host keys (SCAN_KNOWN_HOSTS)"
    if reason:
        raise Problem(422, reason, errors=[{"field": "body.url", "message": reason}])


def _may_be_read(path: PurePosixPath, settings: Settings) -> bool:
    folder = settings.scan_files if settings.app_env == "development" else None
    return folder is not None and ".." not in path.parts and path.is_relative_to(folder)


def _distinct(tags: list[str]) -> list[str]:
    return sorted(set(tags))


def weeks(activity: object) -> object:
    """Given the commits per week, keyed by Monday, return those of a year's weeks, the current week last.

    The input may leave out weeks without commits.
    """
    if not isinstance(activity, dict):
        return activity
    today = datetime.now(UTC).date()
    monday = today - timedelta(days=today.weekday())
    return [activity.get((monday - timedelta(weeks=ago)).isoformat(), 0) for ago in range(WEEKS - 1, -1, -1)]


def _names(tags: object) -> object:
    """Given tags as the database joins them, return a list in alphabetical order."""
    return sorted(tags.split(",")) if isinstance(tags, str) else tags or []


def _indexable(url: str) -> str:
    """Return an address if it fits into a Postgres index, whose rows have 2700 bytes at most. Raises ValueError."""
    if (length := len(url.encode())) > URL_BYTES:
        raise ValueError(f"an address may have at most {URL_BYTES} bytes of UTF-8; this one has {length}")
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
    """A project to add."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [{"url": "https://github.com/pallets/flask.git", "name": "flask", "tags": ["python", "web"]}]
        },
    )

    url: Url
    """The address that git fetches from; unique."""
    name: Name | None = None
    """Unique; default: the address's host and path."""
    tags: Tags = []

    @property
    def title(self) -> str:
        """The project's name."""
        parts = parse(self.url)
        return self.name or f"{parts.hostname or ''}{parts.path.rstrip('/').removesuffix('.git')}"[:200]


class Change(BaseModel):
    """The fields to change. A field that is missing or null stays as it is."""

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
    """A project, with the results of its last successful scan."""

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
    """Why the last scan failed; the results of the scan before it are kept."""
    last_commit: str | None
    last_commit_at: datetime | None
    commits: int | None
    contributors: int | None
    files: int | None
    size_bytes: int | None
    """Size of its code."""
    todos: int | None
    """How often TODO, FIXME or XXX occurs in its code."""
    language: str | None
    """The language of most of its code."""
    license: str | None
    """Its SPDX identifier."""
    activity: Annotated[list[int] | None, BeforeValidator(weeks)]
    """Commits per week over a year; the current week is last."""


class ProjectDetail(ProjectOut):
    """A project with all its details."""

    scan_due_at: datetime
    languages: dict[str, int] | None
    """Bytes of code in each language."""
    manifests: list[str] | None
    """Paths of the files that declare its dependencies."""


class ScanOut(Numbered):
    """A scan whose results differ from those of the scan before it."""

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
