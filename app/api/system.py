"""What runs here: release, schema, worker. Public, so it names no project."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from app import schema
from app.api.state import Given, State
from app.models import JobRun, Project, now
from app.worker.heartbeat import HEARTBEAT, STALE_SECONDS

router = APIRouter(prefix="/api/system", tags=["system"])
LAST_RUNS = 10


class DatabaseOut(BaseModel):
    """The schema."""

    revision: str | None
    head: str
    """The newest revision that this release knows."""


class WorkerOut(BaseModel):
    """The worker that gave the last sign of life."""

    name: str
    release: str
    since: datetime
    heartbeat: datetime
    alive: bool


class RunOut(BaseModel):
    """One run of a job."""

    model_config = ConfigDict(from_attributes=True)

    job: str
    project_id: int | None
    release: str
    started_at: datetime
    finished_at: datetime
    outcome: str


class SystemOut(BaseModel):
    """The state of the whole."""

    release: str
    since: datetime
    """When the process that answers began."""
    database: DatabaseOut
    projects: int
    worker: WorkerOut | None
    runs: list[RunOut]


@router.get("")
def system(state: Given) -> SystemOut:
    """Return the state of the whole."""
    return look(state)


def look(state: State) -> SystemOut:
    """Read the state of the whole from the database, in one short transaction."""
    with state.database.read() as session:
        revision = schema.current(session.connection())
        projects = session.scalar(select(func.count()).select_from(Project)) or 0
        beat = session.scalar(
            select(JobRun).where(JobRun.job == HEARTBEAT).order_by(JobRun.finished_at.desc()).limit(1)
        )
        # By id, which is the order they ended in: no index is needed, and none has to be kept.
        last = select(JobRun).where(JobRun.job != HEARTBEAT).order_by(JobRun.id.desc()).limit(LAST_RUNS)
        return SystemOut(
            release=state.settings.ppm_release,
            since=state.since,
            database=DatabaseOut(revision=revision, head=schema.head()),
            projects=projects,
            worker=_worker(beat) if beat else None,
            runs=[RunOut.model_validate(run) for run in session.scalars(last)],
        )


def _worker(beat: JobRun) -> WorkerOut:
    return WorkerOut(
        name=beat.worker,
        release=beat.release,
        since=beat.started_at,
        heartbeat=beat.finished_at,
        alive=(now() - beat.finished_at).total_seconds() < STALE_SECONDS,
    )
