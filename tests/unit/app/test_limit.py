"""How many requests a caller may send in a minute."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from anyio.from_thread import BlockingPortal
from httpx import Client
from starlette.exceptions import HTTPException

from app import tokens
from app.api import create_app, limit
from app.api.limit import Limit
from app.database import Database
from app.settings import Settings
from tests.unit.app.conftest import InLoop
from tests.unit.app.test_projects import problem

Advance = Callable[[float], None]


@pytest.fixture
def clock() -> tuple[Callable[[], float], Advance]:
    """A clock, and what sets it forward."""
    at = [100.0]

    def advance(seconds: float) -> None:
        at[0] += seconds

    return lambda: at[0], advance


def test_a_bucket_empties_with_each_request_and_fills_evenly(clock: tuple[Callable[[], float], Advance]) -> None:
    now, advance = clock
    limit = Limit(60, clock=now)
    assert [limit.take("a").remaining for _ in range(60)] == list(range(59, -1, -1))
    with pytest.raises(HTTPException) as refused:
        limit.take("a")
    assert refused.value.headers == {
        "RateLimit-Limit": "60",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "60",
        "Retry-After": "1",
    }
    assert limit.take("b").remaining == 59

    advance(2)

    assert (limit.take("a").remaining, limit.take("a").remaining) == (1, 0)
    with pytest.raises(HTTPException):
        limit.take("a")
    advance(3600)
    assert limit.take("a").remaining == 59


@pytest.mark.parametrize(("per_minute", "replicas"), [(60, 2), (60, 7), (1, 1)])
def test_replicas_that_share_the_requests_let_as_many_through_as_one(per_minute: int, replicas: int) -> None:
    limits = [Limit(per_minute, replicas, lambda: 0.0) for _ in range(replicas)]

    left = []
    for number in range(2 * per_minute):
        with suppress(HTTPException):
            left.append(limits[number % replicas].take("a").remaining)

    assert per_minute - replicas < len(left) <= per_minute
    assert left[0] == per_minute - replicas
    assert left[-1] < replicas


def test_fewer_requests_than_replicas_are_one_for_each() -> None:
    limit = Limit(2, 3, lambda: 0.0)

    assert limit.take("a").remaining == 0
    with pytest.raises(HTTPException) as refused:
        limit.take("a")
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "60"


def test_only_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "MOST_CALLERS", 2)
    some = Limit(60, clock=lambda: 0.0)

    for name in ("a", "b", "a", "c"):
        some.take(name)

    assert (some.take("a").remaining, some.take("b").remaining) == (57, 59)


def test_each_token_has_its_own_and_is_told_what_is_left(
    settings: Settings, database: Database, portal: BlockingPortal
) -> None:
    app = create_app(settings.model_copy(update={"rate_limit_per_minute": 2}), database)
    one, two = ({"Authorization": f"Bearer {tokens.create(database, name)[0]}"} for name in ("one", "two"))

    with Client(transport=InLoop(app, portal), base_url="http://ppm") as client:
        answers = [client.get("/api/projects", headers=one) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
        assert "more than 2 requests per minute" in problem(answers[2], 429)["detail"]
        assert 0 < int(answers[2].headers["Retry-After"]) <= 30
        made = client.post("/api/projects", headers=two, json={"url": "https://git.example.org/a.git"})
        assert made.status_code == 201
        assert made.headers["RateLimit-Remaining"] == "1", "both scopes are asked for, by one request"
        assert client.get("/api/system").status_code == 200
