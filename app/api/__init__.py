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
Projects are git repositories that a worker looks at once in a while. Programs send a token:
`Authorization: Bearer …`; its scope is `read`, `write` or `admin`. People log in at `/api/login`. Errors are problem
documents (RFC 9457).
"""
MAX_BODY = 64 << 10
"""Bytes of a request's body: a project is small, and the memory of a container too."""
THREADS = 4 * POOL_SIZE
"""Handlers that may run at once: as many as have a connection, and writers that wait for their turn."""


class _Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """Put these around everything: Starlette's own answer to a crash is outside of added middleware."""
        state: State = self.state.ppm
        edge = Edge(super().build_middleware_stack(), state.settings.ppm_release, state.drain)
        return tracing.traced(observe.Observe(edge))

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API; the problem that every operation may answer with is written once."""
        if self.openapi_schema is None:
            components = super().openapi().setdefault("components", {}).setdefault("schemas", {})
            schema = problems.ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= {**schema.pop("$defs"), "Problem": schema}
        return super().openapi()


async def _docs(_: Request) -> RedirectResponse:
    """Lead to the page that shows the description: app/ui/docs.html."""
    return RedirectResponse("/docs.html")


def _operation(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name}"


def create_app(settings: Settings, database: Database) -> FastAPI:
    """Return the application. It neither migrates nor listens: app/serve.py does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        state: State = app.state.ppm
        async with state.certificate.watched(), events.Hub(state).running() as app.state.hub:
            yield

    app = _Application(
        title="ppm",
        lifespan=lifespan,
        docs_url=None,  # it would load scripts from elsewhere: the page has them
        openapi_url="/api/openapi.json",
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to http: the proxy ends TLS
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
