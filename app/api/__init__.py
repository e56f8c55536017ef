"""The HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.api import events, health, problems, projects, system
from app.api.edge import Edge
from app.api.state import State
from app.api.tokens import require_token
from app.database import POOL_SIZE, Database
from app.settings import Settings

MAX_BODY = 64 << 10
"""Bytes of a request's body: a project is small, and the memory of a container too."""
THREADS = 4 * POOL_SIZE
"""Handlers that may run at once: as many as have a connection, and writers that wait for their turn."""


class _Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """Put Edge around everything: Starlette's own answer to a crash is outside of added middleware."""
        state: State = self.state.ppm
        return Edge(super().build_middleware_stack(), state.settings.ppm_release, state.drain)


def create_app(settings: Settings, database: Database) -> FastAPI:
    """Return the application. It neither migrates nor listens: app/serve.py does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with events.Hub(app.state.ppm).running() as app.state.hub:
            yield

    app = _Application(
        title="ppm",
        lifespan=lifespan,
        docs_url="/api/docs",
        openapi_url="/api/openapi.json",
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to http: the proxy ends TLS
        max_body_size=MAX_BODY,
    )
    app.state.ppm = State(settings, database)
    app.state.trusted_tokens = {}
    problems.install(app)
    if settings.cors_origin:
        app.add_middleware(
            CORSMiddleware, allow_origins=[settings.cors_origin], allow_methods=["*"], allow_headers=["*"]
        )
    app.include_router(health.router)
    app.include_router(projects.router, dependencies=[Depends(require_token)])
    app.include_router(system.router)
    app.include_router(events.router)
    return app
