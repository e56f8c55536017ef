"""The tables."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, Integer, String, TypeDecorator, false
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""The type of row ids. SQLite assigns ids by itself only if the type is exactly INTEGER, which has 64 bits there."""


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC: SQLite would drop its time zone, and Postgres would return it in the server's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the stored time as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """The base of all tables."""


class Project(Base):
    """A git repository that is watched, with the results of its last successful scan."""

    __tablename__ = "projects"
    # One index for each order of the list. A list has either archived projects or others, never both.
    __table_args__ = (
        Index("ix_projects_archived_id", "archived", "id"),
        Index("ix_projects_archived_name", "archived", "name"),
        Index("ix_projects_archived_last_commit_at", "archived", "last_commit_at"),
        Index("ix_projects_archived_commits", "archived", "commits"),
        Index("ix_projects_archived_scanned_at", "archived", "scanned_at"),
        # A search reads this whole index instead of the whole table. A Postgres index cannot hold long values.
        Index("ix_projects_archived_id_name_url", "archived", "id", "name", "url", info={"only": "sqlite"}),
    )

    id: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    url: Mapped[str] = mapped_column(String(1000), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    archived: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Kept, but not scanned, and listed only on request."""
    scan_due_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    scanned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scan_error: Mapped[str | None] = mapped_column(String(500))
    scan_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    """How many scans in a row have failed: each failure delays the next scan further."""
    last_commit: Mapped[str | None] = mapped_column(String(64))
    last_commit_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    commits: Mapped[int | None]
    contributors: Mapped[int | None]
    files: Mapped[int | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Size of the last commit's code."""
    todos: Mapped[int | None]
    language: Mapped[str | None] = mapped_column(String(50))
    """The language of most of the code."""
    license: Mapped[str | None] = mapped_column(String(50))
    activity: Mapped[dict[str, int] | None] = mapped_column(JSON)
    """Commits per week, keyed by Monday; weeks without commits are left out."""
    languages: Mapped[dict[str, int] | None] = mapped_column(JSON, deferred=True)
    """Bytes of code in each language."""
    manifests: Mapped[list[str] | None] = mapped_column(JSON, deferred=True)
    """Paths of the files that declare dependencies."""

    labels: Mapped[list[ProjectTag]] = relationship(
        lazy="raise", order_by="ProjectTag.tag", cascade="all, delete-orphan", passive_deletes=True
    )


class ProjectTag(Base):
    """A tag of a project."""

    __tablename__ = "project_tags"
    __table_args__ = (Index("ix_project_tags_tag", "tag", "project_id"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(50), primary_key=True)


class Scan(Base):
    """A scan whose results differ from those of the scan before it. `job_runs` has every scan."""

    __tablename__ = "scans"
    __table_args__ = (Index("ix_scans_project_id", "project_id", "id"),)

    id: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(String(500))
    last_commit: Mapped[str | None] = mapped_column(String(64))
    commits: Mapped[int | None]
    contributors: Mapped[int | None]
    files: Mapped[int | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    todos: Mapped[int | None]


class Token(Base):
    """A program's API token, stored as SHA-256."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    scope: Mapped[str] = mapped_column(String(10), server_default="write")
    """See app/scope.py."""
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobRun(Base):
    """One run of a worker's job; for `heartbeat`, one row per worker, finished at its last beat."""

    __tablename__ = "job_runs"
    __table_args__ = (
        Index("ix_job_runs_job_finished_at", "job", "finished_at"),
        Index("ix_job_runs_job_id", "job", "id"),
        Index("ix_job_runs_outcome_id", "outcome", "id"),
    )

    id: Mapped[int] = mapped_column(NUMBER, primary_key=True)
    job: Mapped[str] = mapped_column(String(50))
    worker: Mapped[str] = mapped_column(String(200))
    release: Mapped[str] = mapped_column(String(200))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(50))


class Lease(Base):
    """Which worker may run a job that only one worker may run, and until when."""

    __tablename__ = "leases"

    job: Mapped[str] = mapped_column(String(50), primary_key=True)
    worker: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
