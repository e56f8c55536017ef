"""The system state: release, schema, worker. Only the release and whether users can log in are public. Names no
project."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import schema
from app.api.certificate import CertificateOut
from app.api.route import Route
from app.api.runs import RunOut, latest
from app.api.state import Given, State
from app.api.tokens import OPTIONAL, Known
from app.facts import BackupsOut, DeployOut
from app.models import JobRun, Lease, Project, now
from app.worker.heartbeat import HEARTBEAT, STALE_SECONDS

router = APIRouter(route_class=Route, prefix="/api/system", tags=["system"])
LAST_RUNS = 10


class DatabaseOut(BaseModel):
    """The database schema."""

    revision: str | None
    head: str
    """The newest revision that this release knows."""


class WorkerOut(BaseModel):
    """A worker, by its last heartbeat."""

    name: str
    release: str
    since: datetime
    heartbeat: datetime
    alive: bool
    standby: bool
    """Whether it is waiting: without a lease it may do no job."""


class PublicSystemOut(BaseModel):
    """What the page needs before its user has logged in."""

    release: str
    login: bool
    """Whether users can log in; if not, only tokens work."""


class SystemOut(PublicSystemOut):
    """The full system state."""

    color: str | None
    """Which of the two colors this release has on its host."""
    since: datetime
    """When the process that answers started."""
    disk_free_bytes: int | None
    """Free space on the database's disk, if the database is a file."""
    disk_bytes: int | None
    database: DatabaseOut
    certificate: CertificateOut | None
    """The certificate that browsers see; None without https."""
    backups: BackupsOut | None
    """None before the first backup."""
    deploys: list[DeployOut]
    """The last deploys, rollbacks and restores, newest first."""
    projects: int
    worker: WorkerOut | None
    """The active worker; if there is none, the one with the latest heartbeat."""
    workers: list[WorkerOut]
    """All workers that are alive: two, while one takes over from the other."""
    runs: list[RunOut]


internal = APIRouter(route_class=Route, tags=["system"], include_in_schema=False)


@router.get("", openapi_extra=OPTIONAL)
def system(state: Given, caller: Known) -> SystemOut | PublicSystemOut:
    """Return the system state; without a login, only its public part. Fails if the full state cannot be read."""
    seen = look(state)
    return seen if caller else public(state)


@internal.get("/statusz")
def statusz(state: Given) -> SystemOut:
    """Return the full system state to the host that this runs on: the proxy has no public route to it."""
    return look(state)


def public(state: State) -> PublicSystemOut:
    """Return the public part of the system state."""
    return PublicSystemOut(release=state.settings.ppm_release, login=state.sessions.enabled)


def look(state: State) -> SystemOut:
    """Read the full system state: from the database in one short transaction, and from what the host reports."""
    file, facts = state.database.file, state.facts
    disk = shutil.disk_usage(file.parent) if file else None
    with state.database.read() as session:
        revision = schema.current(session.connection())
        projects = session.scalar(select(func.count()).select_from(Project)) or 0
        workers = list(_workers(session))
        last = latest().limit(LAST_RUNS)
        return SystemOut(
            **public(state).model_dump(),
            color=state.settings.ppm_color,
            since=state.since,
            disk_free_bytes=disk.free if disk else None,
            disk_bytes=disk.total if disk else None,
            database=DatabaseOut(revision=revision, head=schema.head()),
            certificate=state.certificate.shown,
            backups=facts.backups,
            deploys=facts.deploys,
            projects=projects,
            worker=min(workers, key=lambda worker: worker.standby, default=None),
            workers=[worker for worker in workers if worker.alive],
            runs=[RunOut.model_validate(run) for run in session.scalars(last)],
        )


def _workers(session: Session) -> Iterable[WorkerOut]:
    """Yield the workers that are alive, or else the last one that was; latest heartbeat first."""
    beats = select(JobRun).where(JobRun.job == HEARTBEAT).order_by(JobRun.finished_at.desc())
    working = set(session.scalars(select(Lease.worker)))
    oldest = now() - timedelta(seconds=STALE_SECONDS)
    living = session.scalars(beats.where(JobRun.finished_at > oldest)).all()
    for beat in living or session.scalars(beats.limit(1)):
        yield WorkerOut(
            name=beat.worker,
            release=beat.release,
            since=beat.started_at,
            heartbeat=beat.finished_at,
            alive=beat.finished_at > oldest,
            standby=beat.worker not in working,
        )
