"""The baseline for the application: only FastAPI and SQLite. It runs in the application's image.

It requires no token, and validates, counts and logs nothing; a project has two columns.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel
from pysqlite3 import dbapi2

app = FastAPI()
connection = dbapi2.connect("/data/bare.db", check_same_thread=False, isolation_level=None)
for statement in (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "CREATE TABLE IF NOT EXISTS projects (id INTEGER PRIMARY KEY, name TEXT UNIQUE, url TEXT UNIQUE)",
):
    connection.execute(statement)


class Project(BaseModel):
    """A project to add."""

    name: str
    url: str


@app.post("/api/projects", status_code=201)
async def create(new: Project) -> dict[str, Any]:
    """Add a project."""
    row = connection.execute("INSERT INTO projects (name, url) VALUES (?, ?) RETURNING id", (new.name, new.url))
    return {"id": row.fetchone()[0], **new.model_dump()}


@app.get("/api/projects")
async def index(limit: int = 50, offset: int = 0) -> dict[str, Any]:
    """List projects."""
    rows = connection.execute("SELECT * FROM projects ORDER BY id LIMIT ? OFFSET ?", (limit, offset)).fetchall()
    total = connection.execute("SELECT count(*) FROM projects").fetchone()[0]
    return {"items": [dict(zip(("id", "name", "url"), row, strict=True)) for row in rows], "total": total}


@app.get("/api/projects/{id}")
async def read(id: int, response: Response) -> dict[str, Any]:
    """Return one project."""
    row = connection.execute("SELECT * FROM projects WHERE id = ?", (id,)).fetchone()
    if row is None:
        response.status_code = 404
        return {}
    return dict(zip(("id", "name", "url"), row, strict=True))


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    """Report that it is ready."""
    return {"status": "ready"}
