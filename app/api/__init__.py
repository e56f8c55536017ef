"""The HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp

from app import tracing
from app.api import events, health, login, observe, problems, projects, runs, system, tokens
from app.api.certificate import Certificate
from app.api.edge import Edge
from app.api.limit import Limit
from app.api.state import State
from app.database import POOL_SIZE, Database
from app.facts import Facts
from app.sessions import Sessions
from app.settings import Settings

DESCRIPTION = """
Projects are git repositories that a worker scans regularly. Programs send a token: `Authorization: Bearer …`. Its scope
is `read`, `write` or `admin`. People log in at `/api/login`. Errors are problem documents (RFC 9457).
"""
MAX_BODY = 64 << 10
"""Maximum request body, in bytes: a project is small, and so is a container's memory."""
THREADS = 4 * POOL_SIZE
"""Maximum number of handlers at once: those that hold a database connection, and writers that wait for their turn."""


class _Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """Wrap the whole application: middleware added as usual does not see Starlette's response to a crash."""
        state: State = self.state.ppm
        edge = Edge(super().build_middleware_stack(), state.settings.ppm_release, state.drain)
        return tracing.traced(observe.Observe(edge))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI description. It defines the problem that every operation may return only once."""
        if self.openapi_schema is None:
            components = super().openapi().setdefault("components", {}).setdefault("schemas", {})
            schema = problems.ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= {**schema.pop("$defs"), "Problem": schema}
        return super().openapi()


async def _docs(_: Request) -> RedirectResponse:
    """Redirect to the page that shows the OpenAPI description: app/ui/docs.html."""
    return RedirectResponse("/docs.html")


def _operation(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name}"


def create_app(settings: Settings, database: Database) -> FastAPI:
    """Return the application. It neither migrates the database nor listens: app/serve.py does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        state: State = app.state.ppm
        async with state.certificate.watched(), events.Hub(state).running() as app.state.hub:
            yield

    app = _Application(
        title="ppm",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads scripts from other hosts; app/ui/docs.html has its own
        openapi_url="/api/openapi.json",
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to http, because the proxy terminates TLS
        max_body_size=MAX_BODY,
        responses=problems.DOCUMENTED,
        description=DESCRIPTION,
        generate_unique_id_function=_operation,
    )
    certificate = Certificate(settings.certificate_address, settings.public_url)
    per_minute = settings.rate_limit_per_minute
    limit = Limit(per_minute, settings.api_replicas) if per_minute else None
    app.state.ppm = State(settings, database, Sessions(settings), Facts(settings.facts_directory), certificate, limit)
    app.state.trusted_tokens = {}
    problems.install(app)
    if settings.cors_origin:
        app.add_middleware(
            CORSMiddleware, allow_origins=[settings.cors_origin], allow_methods=["*"], allow_headers=["*"]
        )
    app.include_router(health.router)
    app.include_router(observe.router)
    people = login.router, tokens.me, tokens.router
    app.add_route("/api/docs", _docs, include_in_schema=False)
    for router in (projects.router, projects.tags, runs.router, *people, system.router, system.internal, events.router):
        app.include_router(router)
    return app
