"""Tokens: shown once, kept as a digest."""

from __future__ import annotations

import pytest

from app import tokens
from app.database import Database
from app.tokens import TokenError


def test_a_token_is_known_until_it_is_revoked(database: Database) -> None:
    token = tokens.create(database, "ci")[0]
    assert tokens.find(database, tokens.digest(token)) is not None

    tokens.revoke(database, "ci")

    assert tokens.find(database, tokens.digest(token)) is None
    assert tokens.every(database) == []


@pytest.mark.sqlite
def test_the_database_cannot_give_a_token_back(database: Database) -> None:
    token, row = tokens.create(database, "ci")
    database.close()

    assert database.file is not None
    assert token.encode() not in database.file.read_bytes()
    assert set(tokens.described(row)) == {"name", "scope", "created_at", "expires_at"}


def test_tokens_are_long_and_never_the_same(database: Database) -> None:
    made = {tokens.create(database, f"ci-{number}")[0] for number in range(10)}

    assert len(made) == 10
    assert all(token.startswith("ppm_") and len(token) >= 40 for token in made)


def test_a_name_is_taken_once(database: Database) -> None:
    tokens.create(database, "ci")

    with pytest.raises(TokenError, match="a token named ci already exists"):
        tokens.create(database, "ci")


def test_only_a_token_that_exists_can_be_revoked(database: Database) -> None:
    with pytest.raises(TokenError, match="there is no token named ci"):
        tokens.revoke(database, "ci")
