"""Who may call, and what: programs with a token, people with a session.

A token that was found is trusted for a few seconds.
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
"""After this a revoked token no longer works."""
LONGEST_DAYS = 3650
_CALLER = "ppm_caller"
"""Where a request keeps who sent it."""


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request."""

    name: str
    scope: Scope


class Needs(HTTPBearer):
    """What a route depends on that not everybody may call. One dependency for all of it: FastAPI takes its time for
    each."""

    def __init__(self, scope: Scope) -> None:
        about = "A token, as `ppm token create` prints it."
        super().__init__(scheme_name="HTTPBearer", description=about, auto_error=False)
        self.scope = scope

    async def __call__(self, request: Request, response: Response) -> Caller:  # type: ignore[override]
        """Return who calls; answer 401 to whoever has no token, or one that is no good, and no session; 403 to whoever
        may not do this; 429 to whoever calls too often."""
        if _CALLER not in request.scope:
            request.scope[_CALLER] = await self._caller(request)
        caller: Caller
        caller, left = request.scope[_CALLER]
        response.headers.update(left)
        if not caller.scope.includes(self.scope):
            raise Problem(403, f"this needs the scope {self.scope}; {caller.name} has {caller.scope}")
        return caller

    async def _caller(self, request: Request) -> tuple[Caller, dict[str, str]]:
        """Return who calls, and the headers that say how many requests they have left."""
        state: State = request.app.state.ppm
        sent = await super().__call__(request)
        found = _person(request, state) if sent is None else await _program(request, state, sent)
        sort = "person" if sent is None else "token"
        return found, state.limit.take(f"{sort} {found.name}").headers if state.limit else {}


Reader, Writer, Admin = (Depends(Needs(scope)) for scope in Scope)


async def _known(request: Request, response: Response) -> Caller | None:
    """Return who calls; None when no token comes along, and no session that is good. Answer 401 to a token that is no
    good."""
    try:
        return await _READER(request, response)
    except HTTPException as refused:
        if refused.status_code != 401 or "Authorization" in request.headers:
            raise
        return None


_READER = Needs(Scope.READ)
Known = Annotated[Caller | None, Depends(_known)]
OPTIONAL: dict[str, Any] = {"security": [{_READER.scheme_name: []}, {}]}
"""For OpenAPI: the operation takes a token, and answers without one too."""


async def _program(request: Request, state: State, sent: HTTPAuthorizationCredentials) -> Caller:
    """Return whose token it is."""
    trusted: dict[str, tuple[Caller, float]] = request.app.state.trusted_tokens
    sha256 = tokens.digest(sent.credentials)
    known, until = trusted.get(sha256, (None, 0.0))
    if known is not None and until > time.monotonic():
        return known
    trusted.pop(sha256, None)
    token = await to_thread.run_sync(tokens.find, state.database, sha256)
    if token is None:
        raise HTTPException(401, "the token is unknown, revoked or expired", {"WWW-Authenticate": "Bearer"})
    found = Caller(token.name, Scope(token.scope))
    trusted[sha256] = found, time.monotonic() + _trust_seconds(token)
    return found


def _person(request: Request, state: State) -> Caller:
    """Return who has a session."""
    cookie = request.cookies.get(state.sessions.name(SESSION), "")
    session = state.sessions.read(SESSION, cookie, SECONDS) if cookie else None
    scope = state.sessions.scope_of(session["login"], session.get("groups", ())) if session else None
    if session is None or scope is None:
        raise HTTPException(401, "send a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    if request.method not in ("GET", "HEAD"):
        _from_our_page(request, state)
    return Caller(session["login"], scope)


def _from_our_page(request: Request, state: State) -> None:
    """Refuse what another page has sent: a browser adds the session to that too, and says whose page it is."""
    if request.headers.get("Origin") != state.sessions.origin:
        raise Problem(403, "another page has sent this, or a browser that does not say which")


def _trust_seconds(token: Token) -> float:
    left = TRUSTED_SECONDS if token.expires_at is None else (token.expires_at - now()).total_seconds()
    return min(left, TRUSTED_SECONDS)


class NewToken(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"name": "ci", "scope": "write", "days": 90}]},
    )

    name: Name
    scope: Scope = Scope.READ
    days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] | None = None
    """How long it is good for; default: until it is revoked."""


class TokenOut(BaseModel):
    """What is known of a token."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None


class MadeToken(TokenOut):
    """A new token."""

    token: str
    """Shown once: nobody can read it again."""


class MeOut(BaseModel):
    """Whoever asks."""

    name: str
    scope: Scope


me = APIRouter(prefix="/api/me", tags=["login"])


@me.get("")
async def who(caller: Annotated[Caller, Reader]) -> MeOut:
    """Return who asks, and what they may do."""
    return MeOut(name=caller.name, scope=caller.scope)


@router.get("", dependencies=[Admin])
def index(state: Given) -> list[TokenOut]:
    """List the tokens, those that have expired too."""
    return [TokenOut.model_validate(token) for token in tokens.every(state.database)]


@router.post("", status_code=201, dependencies=[Admin])
def create(new: NewToken, state: Given) -> MadeToken:
    """Make a token."""
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
