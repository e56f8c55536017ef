"""Is the process alive, and may it get requests?"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse

from app import schema
from app.api.state import Given

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz(state: Given) -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "release": state.settings.ppm_release}


@router.get("/readyz")
def readyz(state: Given) -> JSONResponse:
    """The database answers, its revision fits this release, and the process is not about to end."""
    reason = _reason(state)
    body: dict[str, Any] = {"status": "unready" if reason else "ready", "release": state.settings.ppm_release}
    if reason:
        body["reason"] = reason
    return JSONResponse(body, 503 if reason else 200, {"Cache-Control": "no-store"})


def _reason(state: Given) -> str | None:
    if state.drain.is_set():
        return "shutting down"
    try:
        return schema.misfit(state.database)
    except SQLAlchemyError as error:
        return f"the database does not answer: {type(error).__name__}"
