"""API tokens of programs: made once, shown once, kept as SHA-256."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from app.database import Database
from app.errors import PpmError
from app.models import Token

PREFIX = "ppm_"
"""So that a scanner for leaked secrets knows one when it sees it."""


class TokenError(PpmError):
    """A token cannot be made or revoked."""


def digest(token: str) -> str:
    """Given a token, return what is stored. It is random, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(database: Database, name: str) -> str:
    """Return a new token; nobody can read it again. Raises TokenError when the name is taken."""
    token = PREFIX + secrets.token_urlsafe(32)
    try:
        with database.write() as session:
            session.add(Token(name=name, sha256=digest(token)))
    except IntegrityError as taken:
        raise TokenError(f"a token is called {name} already; revoke it first, or choose another name") from taken
    return token


def names(database: Database) -> list[dict[str, str]]:
    """Return {name, created_at} of every token, oldest first."""
    with database.read() as session:
        tokens = session.scalars(select(Token).order_by(Token.id)).all()
    return [{"name": token.name, "created_at": token.created_at.isoformat()} for token in tokens]


def revoke(database: Database, name: str) -> None:
    """Delete a token; running replicas notice within seconds. Raises TokenError when there is none."""
    with database.write() as session:
        if session.scalar(delete(Token).where(Token.name == name).returning(Token.id)) is None:
            raise TokenError(f"no token is called {name}")


def known(database: Database, sha256: str) -> bool:
    """Return whether a token with this digest exists."""
    with database.read() as session:
        return session.scalar(select(Token.id).where(Token.sha256 == sha256)) is not None
