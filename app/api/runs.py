"""Runs of the worker's jobs: the job, the project and the outcome of each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from sqlalchemy import Select, select

from app.api.paging import LARGEST, Name, Numbered, Since, Slice
from app.api.route import Route
from app.api.state import Given
from app.api.tokens import Reader
from app.models import JobRun
from app.worker.heartbeat import HEARTBEAT

router = APIRouter(route_class=Route, prefix="/api/runs", tags=["runs"], dependencies=[Reader])


class RunOut(Numbered):
    """One run of a job."""

    model_config = ConfigDict(from_attributes=True)

    job: str
    project_id: int | None
    worker: str
    release: str
    started_at: datetime
    finished_at: datetime
    outcome: str


class RunSlice(Slice[RunOut]):
    """Part of the history of runs."""


class RunQuery(Since):
    """Which runs to list; the last to end comes first."""

    job: Name | None = None
    outcome: Name | None = None
    project_id: Annotated[int, Field(ge=1, le=LARGEST)] | None = None


def latest() -> Select[JobRun]:
    """Return the statement that selects the runs of every job except the heartbeat, the last to end first.

    It orders by id, which is the order in which they ended.
    """
    return select(JobRun).where(JobRun.job != HEARTBEAT).order_by(JobRun.id.desc())


@router.get("")
def index(query: Annotated[RunQuery, Query()], state: Given) -> RunSlice:
    """List the runs of the last two weeks."""
    chosen = latest().limit(query.limit + 1)
    if query.before is not None:
        chosen = chosen.where(JobRun.id < query.before)
    filters = {"job": query.job, "outcome": query.outcome, "project_id": query.project_id}
    chosen = chosen.filter_by(**{name: value for name, value in filters.items() if value is not None})
    with state.database.read() as session:
        runs = [RunOut.model_validate(run) for run in session.scalars(chosen)]
    return RunSlice.of(runs, query.limit)
