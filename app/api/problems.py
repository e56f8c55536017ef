"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
REFERENCE = {"$ref": "#/components/schemas/Problem"}
log = logging.getLogger(__name__)


class FieldError(BaseModel):
    """An error in one part of a request."""

    field: str
    message: str


class ProblemOut(BaseModel):
    """A problem document."""

    model_config = ConfigDict(
        title="Problem",
        extra="allow",
        json_schema_extra={
            "examples": [
                {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no project 7"},
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    """A message for people."""
    errors: list[FieldError] = []
    """For an invalid request: the errors in its parts."""
    existing: int | None = None
    """For a conflict: the id of the existing item."""


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "default": {"description": "A problem (RFC 9457)", "content": {MEDIA_TYPE: {"schema": REFERENCE}}}
}
"""For OpenAPI: the error response of every operation."""


class Problem(HTTPException):
    """An error with members in addition to the standard ones."""

    def __init__(self, status: int, detail: str, **members: Any) -> None:
        super().__init__(status, detail)
        self.members = members


def answer(status: int, detail: str, headers: Any = None, **members: Any) -> JSONResponse:
    """Return a problem document as a response."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


async def _http(_: Request, error: HTTPException) -> JSONResponse:
    return answer(error.status_code, error.detail, error.headers, **getattr(error, "members", {}))


async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    errors = [{"field": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
    return answer(422, "; ".join(f"{item['field']}: {item['message']}" for item in errors), errors=errors)


async def _busy(_: Request, error: Exception) -> JSONResponse:
    log.warning("the database did not respond: %s", error)
    return answer(503, "the database is busy or unavailable; try again", {"Retry-After": "1"})


async def _crash(_: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    # uvicorn closes the connection after a crash. Without this header, a proxy would send the next request into the
    # closing connection, and answer 502 to a request that may be valid.
    return answer(500, "internal error; see the application's log", {"Connection": "close"})


def install(app: FastAPI) -> None:
    """Turn every error of the application into a problem document."""
    handlers: dict[type[Exception], Any] = {
        HTTPException: _http,
        RequestValidationError: _invalid,
        OperationalError: _busy,
        PoolTimeout: _busy,
        Exception: _crash,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
