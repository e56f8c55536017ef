"""Who may call: programs with a token. A digest that was found is trusted for a few seconds."""

from __future__ import annotations

import time
from typing import Annotated

from anyio import to_thread
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app import tokens
from app.api.state import Given

TRUSTED_SECONDS = 5.0
"""After this a revoked token no longer works."""
_bearer = HTTPBearer(auto_error=False)


async def require_token(
    request: Request, state: Given, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Pass when the request carries a token that exists, else answer 401."""
    if sent is None:
        raise HTTPException(401, "send a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    seen: dict[str, float] = request.app.state.trusted_tokens
    sha256 = tokens.digest(sent.credentials)
    if seen.get(sha256, 0.0) > time.monotonic():
        return
    seen.pop(sha256, None)
    if not await to_thread.run_sync(tokens.known, state.database, sha256):
        raise HTTPException(401, "the token is unknown or revoked", {"WWW-Authenticate": "Bearer"})
    seen[sha256] = time.monotonic() + TRUSTED_SECONDS
