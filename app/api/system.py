"""What runs here: release, schema, worker; for the public, the release and how to log in. It names no project."""

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
    """The schema."""

    revision: str | None
    head: str
    """The newest revision that this release knows."""


class WorkerOut(BaseModel):
    """A worker, by its last sign of life."""

    name: str
    release: str
    since: datetime
    heartbeat: datetime
    alive: bool
    standby: bool
    """Whether it waits: it may do no job, since it has no lease."""


class PublicSystemOut(BaseModel):
    """What a page needs before its user has logged in."""

    release: str
    login: bool
    """Whether people can log in; without, there are tokens alone."""


class SystemOut(PublicSystemOut):
    """The state of the whole."""

    color: str | None
    """Of the two that a release can have on its host."""
    since: datetime
    """When the process that answers began."""
    disk_free_bytes: int | None
    """Where the database is, if it is a file."""
    disk_bytes: int | None
    database: DatabaseOut
    certificate: CertificateOut | None
    """That browsers are shown; None without https."""
    backups: BackupsOut | None
    """None before the first."""
    deploys: list[DeployOut]
    """The last deploys, rollbacks and restores, the newest first."""
    projects: int
    worker: WorkerOut | None
    """The one that works; if none does, the one that gave the last sign of life."""
    workers: list[WorkerOut]
    """All that live: two, while one takes over from the other."""
    runs: list[RunOut]


internal = APIRouter(route_class=Route, tags=["system"], include_in_schema=False)


@router.get("", openapi_extra=OPTIONAL)
def system(state: Given, caller: Known) -> SystemOut | PublicSystemOut:
    """Return the state of the whole; without a login, what is public of it, if all of it can be read."""
    seen = look(state)
    return seen if caller else public(state)


@internal.get("/statusz")
def statusz(state: Given) -> SystemOut:
    """Return the state of the whole to the host that this runs on: the proxy has no public route to it."""
    return look(state)


def public(state: State) -> PublicSystemOut:
    """Return what anybody may know."""
    return PublicSystemOut(release=state.settings.ppm_release, login=state.sessions.enabled)


def look(state: State) -> SystemOut:
    """Read the state of the whole: from the database in one short transaction, and what the host tells."""
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
    """Yield the workers that live, or else the last that did; the last sign of life first."""
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
