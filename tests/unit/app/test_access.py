"""Who may do what: the scopes of tokens, and tokens over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest
from httpx import Client
from sqlalchemy import update

from app import tokens
from app.database import Database
from app.models import Token, now
from app.scope import Scope
from tests.unit.app.conftest import until
from tests.unit.app.test_projects import URL, problem


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("scope", "reads", "writes", "administers"),
    [(Scope.READ, 200, 403, 403), (Scope.WRITE, 200, 201, 403), (Scope.ADMIN, 200, 201, 200)],
)
def test_a_token_may_do_what_its_scope_says(
    anonymous: Client, database: Database, scope: Scope, reads: int, writes: int, administers: int
) -> None:
    headers = bearer(tokens.create(database, "ci", scope)[0])

    assert anonymous.get("/api/projects", headers=headers).status_code == reads
    assert anonymous.post("/api/projects", headers=headers, json={"url": URL}).status_code == writes
    assert anonymous.get("/api/tokens", headers=headers).status_code == administers


def test_a_refusal_names_the_scope_that_is_missing(anonymous: Client, database: Database) -> None:
    headers = bearer(tokens.create(database, "ci", Scope.READ)[0])

    body = problem(anonymous.delete("/api/projects/1", headers=headers), 403)

    assert body["detail"] == "this needs the scope write; ci has read"


def test_a_token_that_is_made_over_http_is_shown_once_and_works(client: Client) -> None:
    answer = client.post("/api/tokens", json={"name": "ci", "scope": "read", "days": 7})

    assert answer.status_code == 201
    made = answer.json()
    assert client.get("/api/projects", headers=bearer(made["token"])).status_code == 200
    listed = client.get("/api/tokens").json()[-1]
    assert (listed["name"], listed["scope"], listed["expires_at"]) == ("ci", "read", made["expires_at"])
    assert "token" not in listed
    taken = problem(client.post("/api/tokens", json={"name": "ci"}), 409)
    assert taken["detail"].startswith("a token named ci already exists")


def test_a_revoked_token_is_gone(client: Client, anonymous: Client) -> None:
    made = client.post("/api/tokens", json={"name": "ci"}).json()

    assert client.delete(f"/api/tokens/{made['id']}").status_code == 204

    problem(client.delete(f"/api/tokens/{made['id']}"), 404)
    problem(anonymous.get("/api/projects", headers=bearer(made["token"])), 401)


@pytest.mark.parametrize("sent", [{}, {"name": "x", "days": 0}, {"name": "x", "scope": "root"}, {"name": "\n"}])
def test_a_token_that_makes_no_sense_is_refused(client: Client, sent: dict[str, object]) -> None:
    problem(client.post("/api/tokens", json=sent), 422)


def test_an_expired_token_no_longer_works(anonymous: Client, database: Database) -> None:
    token = tokens.create(database, "ci", lifetime=timedelta(days=1))[0]
    with database.write() as session:
        session.execute(update(Token).values(expires_at=now() - timedelta(seconds=1)))

    problem(anonymous.get("/api/projects", headers=bearer(token)), 401)


def test_trust_in_a_token_ends_when_it_expires(anonymous: Client, database: Database) -> None:
    token = tokens.create(database, "ci", lifetime=timedelta(seconds=2))[0]
    assert anonymous.get("/api/projects", headers=bearer(token)).status_code == 200

    until(lambda: anonymous.get("/api/projects", headers=bearer(token)).status_code == 401, 20)
