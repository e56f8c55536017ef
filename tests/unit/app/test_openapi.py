"""The description of the API, from which the page's types are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from httpx import Client

from app import schema

SCHEMA = "#/components/schemas/"


def operations(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every operation by its method and path."""
    paths = description["paths"].items()
    return {f"{method.upper()} {path}": operation for path, methods in paths for method, operation in methods.items()}


def test_every_operation_says_how_it_fails(application: FastAPI) -> None:
    description = application.openapi()

    for operation in operations(description).values():
        content = operation["responses"]["default"]["content"]
        assert content["application/problem+json"]["schema"] == {"$ref": f"{SCHEMA}Problem"}
        assert "422" not in operation["responses"]
    assert set(description["components"]["schemas"]["Problem"]["required"]) == {"type", "title", "status", "detail"}


def test_everything_that_it_refers_to_is_there(application: FastAPI) -> None:
    description = application.openapi()

    def references(part: object) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*map(references, part.values()))
        return set().union(*map(references, part)) if isinstance(part, list) else set()

    assert references(description) <= {f"{SCHEMA}{name}" for name in description["components"]["schemas"]}


def test_the_pages_types_are_made_of_what_is_served(application: FastAPI) -> None:
    kept = json.loads((Path(schema.__file__).parent / "ui/openapi.json").read_text())

    assert kept == application.openapi(), "run `make types`"


def test_operations_have_names_of_their_own(application: FastAPI) -> None:
    names = [operation["operationId"] for operation in operations(application.openapi()).values()]

    assert len(names) == len(set(names))
    assert "projects_create" in names


def test_what_is_sent_has_an_example(application: FastAPI) -> None:
    schemas = application.openapi()["components"]["schemas"]

    for name in ("NewProject", "Change", "NewToken", "ProjectOut", "Problem"):
        assert schemas[name]["examples"]


def test_it_can_be_read_without_a_token(anonymous: Client) -> None:
    assert anonymous.get("/api/openapi.json").json()["info"]["title"] == "ppm"
    assert anonymous.get("/api/docs").headers["Location"] == "/docs.html"
