"""Who may call, and with which scope: programs with a token, people with a session.

A token that was found in the database is trusted for a few seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app import tokens
from app.api.paging import Id, Name
from app.api.problems import Problem
from app.api.route import Route
from app.api.state import Given, State
from app.models import Token, now
from app.scope import Scope
from app.sessions import SECONDS, SESSION

router = APIRouter(route_class=Route, prefix="/api/tokens", tags=["tokens"])
TRUSTED_SECONDS = 5.0
"""A revoked token stops working within this time."""
LONGEST_DAYS = 3650
_CALLER = "ppm_caller"
"""The key under which a request's scope holds its caller."""


@dataclass(frozen=True)
class Caller:
    """The sender of a request."""

    name: str
    scope: Scope


class Needs(HTTPBearer):
    """The dependency of a route that requires a scope. A single dependency checks everything, because FastAPI takes
    time for each."""

    def __init__(self, scope: Scope) -> None:
        about = "A token, as `ppm token create` prints it."
        super().__init__(scheme_name="HTTPBearer", description=about, auto_error=False)
        self.scope = scope

    async def __call__(self, request: Request, response: Response) -> Caller:  # type: ignore[override]
        """Return the caller; answer 401 if the token is invalid, or if there is neither a token nor a session; 403 if
        the caller's scope does not allow this; 429 if the caller sends too many requests."""
        if _CALLER not in request.scope:
            request.scope[_CALLER] = await self._caller(request)
        caller: Caller
        caller, left = request.scope[_CALLER]
        response.headers.update(left)
        if not caller.scope.includes(self.scope):
            raise Problem(403, f"this needs the scope {self.scope}; {caller.name} has {caller.scope}")
        return caller

    async def _caller(self, request: Request) -> tuple[Caller, dict[str, str]]:
        """Return the caller, and the headers that say how many requests the caller has left."""
        state: State = request.app.state.ppm
        sent = await super().__call__(request)
        caller = _person(request, state) if sent is None else await _program(request, state, sent)
        kind = "person" if sent is None else "token"
        return caller, state.limit.take(f"{kind} {caller.name}").headers if state.limit else {}


Reader, Writer, Admin = (Depends(Needs(scope)) for scope in Scope)


async def _known(request: Request, response: Response) -> Caller | None:
    """Return the caller; None when there is neither a token nor a valid session. Answer 401 to an invalid token."""
    try:
        return await _READER(request, response)
    except HTTPException as refused:
        if refused.status_code != 401 or "Authorization" in request.headers:
            raise
        return None


_READER = Needs(Scope.READ)
Known = Annotated[Caller | None, Depends(_known)]
OPTIONAL: dict[str, Any] = {"security": [{_READER.scheme_name: []}, {}]}
"""For OpenAPI: the operation accepts a token, but also answers without one."""


async def _program(request: Request, state: State, sent: HTTPAuthorizationCredentials) -> Caller:
    """Return the caller that a token belongs to."""
    trusted: dict[str, tuple[Caller, float]] = request.app.state.trusted_tokens
    sha256 = tokens.digest(sent.credentials)
    known, until = trusted.get(sha256, (None, 0.0))
    if known is not None and until > time.monotonic():
        return known
    trusted.pop(sha256, None)
    token = await to_thread.run_sync(tokens.find, state.database, sha256)
    if token is None:
        raise HTTPException(401, "the token is unknown, revoked or expired", {"WWW-Authenticate": "Bearer"})
    caller = Caller(token.name, Scope(token.scope))
    trusted[sha256] = caller, time.monotonic() + _trust_seconds(token)
    return caller


def _person(request: Request, state: State) -> Caller:
    """Return the caller that the session belongs to."""
    cookie = request.cookies.get(state.sessions.name(SESSION), "")
    session = state.sessions.read(SESSION, cookie, SECONDS) if cookie else None
    scope = state.sessions.scope_of(session["login"], session.get("groups", ())) if session else None
    if session is None or scope is None:
        raise HTTPException(401, "send a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    if request.method not in ("GET", "HEAD"):
        _from_our_page(request, state)
    return Caller(session["login"], scope)


def _from_our_page(request: Request, state: State) -> None:
    """Refuse a request that another page sent: a browser adds the session to it, too, but names that page's origin."""
    if request.headers.get("Origin") != state.sessions.origin:
        raise Problem(403, "the request came from another page, or the browser did not send its origin")


def _trust_seconds(token: Token) -> float:
    left = TRUSTED_SECONDS if token.expires_at is None else (token.expires_at - now()).total_seconds()
    return min(left, TRUSTED_SECONDS)


class NewToken(BaseModel):
    """A token to create."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"name": "ci", "scope": "write", "days": 90}]},
    )

    name: Name
    scope: Scope = Scope.READ
    days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] | None = None
    """Days until it expires; default: it is valid until it is revoked."""


class TokenOut(BaseModel):
    """A token, without its text."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None


class MadeToken(TokenOut):
    """A new token, with its text."""

    token: str
    """Shown only once: it cannot be read again."""


class MeOut(BaseModel):
    """The caller."""

    name: str
    scope: Scope


me = APIRouter(prefix="/api/me", tags=["login"])


@me.get("")
async def who(caller: Annotated[Caller, Reader]) -> MeOut:
    """Return the caller's name and scope."""
    return MeOut(name=caller.name, scope=caller.scope)


@router.get("", dependencies=[Admin])
def index(state: Given) -> list[TokenOut]:
    """List the tokens, including expired ones."""
    return [TokenOut.model_validate(token) for token in tokens.every(state.database)]


@router.post("", status_code=201, dependencies=[Admin])
def create(new: NewToken, state: Given) -> MadeToken:
    """Create a token."""
    lifetime = timedelta(days=new.days) if new.days else None
    try:
        text, row = tokens.create(state.database, new.name, new.scope, lifetime)
    except tokens.TokenError as taken:
        raise Problem(409, str(taken)) from taken
    return MadeToken(**TokenOut.model_validate(row).model_dump(), token=text)


@router.delete("/{id}", status_code=204, dependencies=[Admin])
def revoke(id: Id, state: Given) -> None:
    """Revoke a token; it stops working within seconds."""
    with state.database.write() as session:
        if session.scalar(delete(Token).where(Token.id == id).returning(Token.id)) is None:
            raise Problem(404, f"there is no token {id}")
