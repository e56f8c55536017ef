"""Is the process alive, and may it get requests?"""

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
"""Bytes: room for what is being written, and for somebody to come and look."""


@router.get("/healthz")
async def healthz(state: Given) -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "release": state.settings.ppm_release}


@router.get("/readyz")
def readyz(state: Given) -> JSONResponse:
    """The database answers and can be written to, its revision fits this release, and the process is not about to end.

    Where it lies, space that runs out is told, and no reason to be sent no more requests: most of them read.
    """
    reason = _reason(state)
    degraded = None if reason else _degraded(state)
    status = "unready" if reason else "degraded" if degraded else "ready"
    body: dict[str, Any] = {"status": status, "release": state.settings.ppm_release}
    if said := reason or degraded:
        body["reason"] = said
    return JSONResponse(body, 503 if reason else 200, {"Cache-Control": "no-store"})


def _reason(state: Given) -> str | None:
    if state.drain.is_set():
        return "shutting down"
    try:
        misfit = schema.misfit(state.database)
        fault = None if misfit else state.database.fault()
    except SQLAlchemyError as error:
        return f"the database does not answer: {type(error).__name__}"
    return misfit or (f"the database cannot be written to: {fault}" if fault else None)


def _degraded(state: Given) -> str | None:
    file = state.database.file
    free = shutil.disk_usage(file.parent).free if file else LOW_DISK
    return f"{free >> 20} MiB are free where the database is" if free < LOW_DISK else None
