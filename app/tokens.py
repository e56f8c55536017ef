"""API tokens of programs: created once, shown once, stored as SHA-256; each has a scope and may expire."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from app.database import Database
from app.errors import PpmError
from app.models import Token, now
from app.scope import Scope

PREFIX = "ppm_"
"""Lets scanners for leaked secrets recognize a token."""


class TokenError(PpmError):
    """A token cannot be created or revoked."""


def digest(token: str) -> str:
    """Given a token, return the hash that is stored. A token is random, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(
    database: Database, name: str, scope: Scope = Scope.WRITE, lifetime: timedelta | None = None
) -> tuple[str, Token]:
    """Return a new token, which cannot be read again, and its row. Raises TokenError when the name is taken.

    Without a lifetime it is valid until it is revoked.
    """
    text = PREFIX + secrets.token_urlsafe(32)
    row = Token(name=name, sha256=digest(text), scope=scope, expires_at=now() + lifetime if lifetime else None)
    try:
        with database.write() as session:
            session.add(row)
    except IntegrityError as taken:
        raise TokenError(f"a token named {name} already exists; revoke it first, or choose another name") from taken
    return text, row


def every(database: Database) -> list[Token]:
    """Return every token's row, oldest first."""
    with database.read() as session:
        return list(session.scalars(select(Token).order_by(Token.id)))


def described(token: Token) -> dict[str, str | None]:
    """Return {name, scope, created_at, expires_at}."""
    expires = token.expires_at.isoformat() if token.expires_at else None
    return {
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at.isoformat(),
        "expires_at": expires,
    }


def revoke(database: Database, name: str) -> None:
    """Delete a token; running replicas notice within seconds. Raises TokenError when there is none."""
    with database.write() as session:
        if session.scalar(delete(Token).where(Token.name == name).returning(Token.id)) is None:
            raise TokenError(f"there is no token named {name}")


def find(database: Database, sha256: str) -> Token | None:
    """Return the token with this digest; None when there is none or it has expired."""
    with database.read() as session:
        token = session.scalar(select(Token).where(Token.sha256 == sha256))
    return token if token is not None and (token.expires_at is None or token.expires_at > now()) else None
