"""The whole API, asked for what its description allows and for what it does not: no answer is a crash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
import schemathesis
from fastapi import FastAPI
from httpx import Client, InvalidURL
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from starlette.routing import BaseRoute, Route

from tests.unit.app.test_login import Open, browser, server  # noqa: F401 - fixtures

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


HIDDEN = {"/metrics", "/statusz", "/api/docs", "/api/login", "/api/login/callback"}
"""What the description does not have."""
QUERY = st.dictionaries(st.sampled_from(["state", "code", "error", "x"]) | st.text(max_size=5), st.text())
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"))
HEADERS = st.dictionaries(
    st.sampled_from(["Cookie", "Authorization", "X-Forwarded-For", "X-Request-Id", "Origin", "Accept"]),
    LATIN | st.builds("ppm_{}={}".format, st.sampled_from(["session", "login"]), LATIN),
)


def paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Yield the path of each route, those of routers that were included too."""
    for route in routes:
        if isinstance(route, Route):
            yield route.path
        else:
            yield from paths(route.original_router.routes)  # type: ignore[attr-defined]


def test_every_route_is_asked(application: FastAPI) -> None:
    """A new one that is not described is named in HIDDEN, or this fails."""
    assert set(paths(application.routes)) - set(application.openapi()["paths"]) - {"/api/openapi.json"} == HIDDEN


@pytest.mark.parametrize("path", sorted(HIDDEN))
@pytest.mark.parametrize("begun", [False, True])
def test_whatever_a_hidden_route_is_asked_it_answers(browser: Open, path: str, *, begun: bool) -> None:  # noqa: F811
    """The routes that a login goes through, too, with the cookie of one that has begun."""
    client = browser()
    cookie = client.get("/api/login").headers["Set-Cookie"].partition(";")[0] if begun else ""

    @given(query=QUERY, headers=HEADERS)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(query: dict[str, str], headers: dict[str, str]) -> None:
        client.cookies.clear()
        sent = {name: value.encode("latin-1") for name, value in ({"Cookie": cookie} | headers).items()}
        answer = client.get(path, params=query, headers=sent)
        assert answer.status_code < 500, answer.text

    ask()
