"""The tables."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import DateTime, ForeignKey, Index, String, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone, which SQLite would drop."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the stored time as UTC."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """All tables."""


class Project(Base):
    """A git repository that somebody keeps an eye on, with what its last scan found."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    url: Mapped[str] = mapped_column(String(1000), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    scan_due_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    scanned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scan_error: Mapped[str | None] = mapped_column(String(500))
    last_commit: Mapped[str | None] = mapped_column(String(64))
    last_commit_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    commits: Mapped[int | None]
    contributors: Mapped[int | None]


class Token(Base):
    """An API token of a program, by its SHA-256."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class JobRun(Base):
    """One run of a job of the worker; of `heartbeat` one row for each worker, finished at its last beat."""

    __tablename__ = "job_runs"
    __table_args__ = (Index("ix_job_runs_job_finished_at", "job", "finished_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(String(50))
    worker: Mapped[str] = mapped_column(String(200))
    release: Mapped[str] = mapped_column(String(200))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(50))


class Lease(Base):
    """Who may do a job that only one worker may do, and until when."""

    __tablename__ = "leases"

    job: Mapped[str] = mapped_column(String(50), primary_key=True)
    worker: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
