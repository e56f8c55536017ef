"""Projects over HTTP: create, read, list, delete, and every way to be refused."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import Client, Response

from app import tokens
from app.api import tokens as module
from app.database import Database
from tests.unit.app.conftest import until

URL = "https://git.example.org/team/tool.git"


def add(client: Client, number: int) -> dict[str, Any]:
    answer = client.post("/api/projects", json={"url": f"https://git.example.org/{number}.git", "name": f"p{number}"})
    assert answer.status_code == 201
    project: dict[str, Any] = answer.json()
    return project


def problem(answer: Response, status: int) -> dict[str, Any]:
    """Return a refusal's document, having checked that it is one."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= set(body)
    assert body["status"] == status
    return body


def test_a_project_is_there_after_it_was_added(client: Client) -> None:
    answer = client.post("/api/projects", json={"url": URL, "name": "tool"})

    assert answer.status_code == 201
    project = answer.json()
    assert (project["name"], project["url"], project["scanned_at"]) == ("tool", URL, None)
    assert project["created_at"].endswith("Z")
    assert client.get(answer.headers["Location"]).json().items() >= project.items()
    assert client.get("/api/projects").json()["items"] == [project]


def test_a_project_without_a_name_is_called_after_its_address(client: Client) -> None:
    assert client.post("/api/projects", json={"url": URL}).json()["name"] == "git.example.org/team/tool"


def test_projects_come_in_pages_in_the_order_of_their_creation(client: Client) -> None:
    for number in range(5):
        add(client, number)

    page = client.get("/api/projects", params={"limit": 2, "offset": 3}).json()

    assert [item["name"] for item in page["items"]] == ["p3", "p4"]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 3)
    assert client.get("/api/projects", params={"offset": 99}).json()["items"] == []


def test_a_project_is_found_by_its_name(client: Client) -> None:
    for number in range(3):
        add(client, number)

    page = client.get("/api/projects", params={"name": "p1"}).json()

    assert ([item["name"] for item in page["items"]], page["total"]) == (["p1"], 1)


def test_a_deleted_project_is_gone(client: Client) -> None:
    location = f"/api/projects/{add(client, 1)['id']}"

    assert client.delete(location).status_code == 204
    problem(client.get(location), 404)
    problem(client.delete(location), 404)


@pytest.mark.parametrize("second", [{"url": URL, "name": "other"}, {"url": f"{URL}/other", "name": "tool"}])
def test_a_second_project_with_the_same_address_or_name_names_the_first(client: Client, second: dict[str, str]) -> None:
    first = client.post("/api/projects", json={"url": URL, "name": "tool"}).json()

    body = problem(client.post("/api/projects", json=second), 409)

    assert body["existing"] == first["id"]
    assert client.get("/api/projects").json()["total"] == 1


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"url": "ssh://git@example.org/tool"},
        {"url": "file:///etc"},
        {"url": "https://example.org"},
        {"url": "https://[::1/tool"},
        {"url": "https://user:secret@example.org/tool"},
        {"url": "https://example.org/a b"},
        {"url": "https://example.org/a\u0000b"},
        {"url": "https://example.org/" + "x" * 1000},
        {"url": URL, "name": ""},
        {"url": URL, "name": "two\nlines"},
        {"url": URL, "name": "x" * 201},
        {"url": URL, "unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused_with_the_field_that_is_wrong(client: Client, sent: dict[str, object]) -> None:
    body = problem(client.post("/api/projects", json=sent), 422)

    assert body["errors"][0]["field"].startswith("body.")
    assert "secret" not in str(body)


def test_an_address_is_as_long_as_its_bytes_which_an_index_must_hold(client: Client) -> None:
    longest = "https://example.org/" + "".join(chr(0x20000 + n) for n in range(495))  # 2000 bytes that no two share
    added = client.post("/api/projects", json={"url": longest})
    assert added.status_code == 201, added.text

    for answer in (
        client.post("/api/projects", json={"url": longest + "x"}),
        client.patch(f"/api/projects/{added.json()['id']}", json={"url": longest + "x"}),
    ):
        body = problem(answer, 422)
        assert body["errors"][0]["field"] == "body.url"
        assert "at most 2000 bytes of UTF-8; this one has 2001" in body["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "offset=-1", f"offset={2**63}", "sort=size", "order=name", "q=%00", "tag=a%20b"]
)
def test_a_page_that_cannot_be_is_refused(client: Client, query: str) -> None:
    problem(client.get(f"/api/projects?{query}"), 422)


@pytest.mark.parametrize("id", ["0", "-1", "x", str(2**63)])
def test_a_number_that_no_project_can_have_is_refused(client: Client, id: str) -> None:
    problem(client.get(f"/api/projects/{id}"), 422)
    problem(client.delete(f"/api/projects/{id}"), 422)


def test_what_is_no_json_is_refused(client: Client) -> None:
    answer = client.post("/api/projects", content=b"{", headers={"Content-Type": "application/json"})

    problem(answer, 422)


def test_a_huge_body_is_refused_before_it_fills_the_memory(client: Client) -> None:
    assert client.post("/api/projects", content=bytes(1 << 20)).status_code == 413
    assert client.post("/api/projects", content=iter([bytes(1 << 15)] * 32)).status_code == 413


@pytest.mark.parametrize("body", [b"{", b"\xff"])
@pytest.mark.parametrize("path", ["/api/projects", "/api/tokens"])
def test_who_calls_is_looked_at_before_the_body_is_read(anonymous: Client, path: str, body: bytes) -> None:
    answer = anonymous.post(path, content=body, headers={"Content-Type": "application/json"})

    assert problem(answer, 401)["detail"] == "send a token: Authorization: Bearer TOKEN"


def test_the_other_methods_and_paths_are_problems_too(client: Client) -> None:
    problem(client.put("/api/projects", json={}), 405)
    problem(client.get("/api/nothing"), 404)
    problem(client.get("/api/projects/", follow_redirects=False), 404)


def test_nobody_gets_in_without_a_token_that_exists(anonymous: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer ppm_wrong"}, {"Authorization": "Basic eDp5"}):
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/1"), ("DELETE", "/1")):
            answer = anonymous.request(method, f"/api/projects{path}", headers=headers)
            problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_token_stops_working_when_trust_in_it_ends(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRUSTED_SECONDS", 0.2)
    assert client.get("/api/projects").status_code == 200

    tokens.revoke(database, "test")

    until(lambda: client.get("/api/projects").status_code == 401, 2)
