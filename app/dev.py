"""The API for development: `uvicorn --factory --reload app.dev:create` calls it again after each change."""

from __future__ import annotations

import logging

from fastapi import FastAPI

from app import migrate
from app.api import create_app
from app.database import Database
from app.settings import Settings


def create() -> FastAPI:
    """Return the application on a database that has every migration."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper())
    database = Database(settings.database_url)
    migrate.migrate(database)
    return create_app(settings, database)
