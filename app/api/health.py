"""Health checks: whether the process is alive, and whether it may receive requests."""

from __future__ import annotations

import shutil
from typing import Any

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse

from app import schema
from app.api.state import Given

router = APIRouter(tags=["health"])
LOW_DISK = 64 << 20
"""Bytes: room to finish current writes, and for an operator to log in and look."""


@router.get("/healthz")
async def healthz(state: Given) -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "ok", "release": state.settings.ppm_release}


@router.get("/readyz")
def readyz(state: Given) -> JSONResponse:
    """Report whether the database responds and can be written to, its revision fits this release, and the process is
    not about to end.

    Low space on the database's disk is reported as `degraded`, but does not stop requests: most of them only read.
    """
    reason = _reason(state)
    degraded = None if reason else _degraded(state)
    status = "unready" if reason else "degraded" if degraded else "ready"
    body: dict[str, Any] = {"status": status, "release": state.settings.ppm_release}
    if explanation := reason or degraded:
        body["reason"] = explanation
    return JSONResponse(body, 503 if reason else 200, {"Cache-Control": "no-store"})


def _reason(state: Given) -> str | None:
    if state.drain.is_set():
        return "shutting down"
    try:
        misfit = schema.misfit(state.database)
        fault = None if misfit else state.database.fault()
    except SQLAlchemyError as error:
        return f"the database is not responding: {type(error).__name__}"
    return misfit or (f"the database cannot be written to: {fault}" if fault else None)


def _degraded(state: Given) -> str | None:
    file = state.database.file
    free = shutil.disk_usage(file.parent).free if file else LOW_DISK
    return f"only {free >> 20} MiB are free on the database's disk" if free < LOW_DISK else None
