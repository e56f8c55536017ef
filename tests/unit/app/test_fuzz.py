"""The whole API, asked for what its description allows and for what it does not: no answer is a crash."""

from __future__ import annotations

import pytest
import schemathesis
from fastapi import FastAPI
from httpx import Client, InvalidURL
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import Case, GenerationMode

ENDLESS = "/api/events"
EXAMPLES = 25


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_asked_is_answered(application: FastAPI, client: Client, mode: GenerationMode) -> None:
    description = schemathesis.openapi.from_dict(application.openapi())
    asked = set()
    for operation in (found.ok() for found in description.get_all_operations()):
        if operation.path == ENDLESS:
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def ask(case: Case) -> None:
            answered(client, case)
            asked.add(f"{case.method} {case.path}")

        try:
            ask()
        except Exception as error:
            if "Unsatisfiable" not in type(error).__name__:  # nothing that can be sent makes no sense here
                raise
    assert {"POST /api/projects", "GET /api/projects/{id}", "PATCH /api/projects/{id}"} <= asked


def answered(client: Client, case: Case) -> None:
    """Send a request; check that its answer is none of a crash, and a problem document if it is a refusal."""
    sent = case.as_transport_kwargs(base_url="http://ppm")
    parts = {key: sent[key] for key in ("params", "json", "data") if sent.get(key) is not None}
    # The token is the client's own: behind a wrong one there is nothing to find.
    parts["headers"] = {name: value for name, value in sent["headers"].items() if name.lower() != "authorization"}
    if isinstance(parts.get("data"), (bytes, str)):
        parts["content"] = parts.pop("data")
    try:
        answer = client.request(sent["method"], sent["url"], **parts)
    except (InvalidURL, UnicodeError, TypeError, ValueError):  # no client can send that
        assume(False)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
