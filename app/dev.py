"""The API for development: `uvicorn --factory --reload app.dev:create` calls it again after each change."""

from __future__ import annotations

from fastapi import FastAPI

from app import logs, migrate
from app.api import create_app
from app.database import Database
from app.settings import Settings


def create() -> FastAPI:
    """Migrate the database; return the application."""
    settings = Settings()
    logs.configure(settings)
    database = Database(settings.database_url)
    migrate.migrate(database)
    return create_app(settings, database)
