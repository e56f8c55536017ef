"""Login with GitHub, or with a compatible server (OAuth 2.0 with PKCE)."""

from __future__ import annotations

import re
import secrets
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from app.api.problems import Problem
from app.api.state import Given, State
from app.api.tokens import Reader
from app.sessions import SECONDS, SESSION

router = APIRouter(prefix="/api", tags=["login"])
BEGUN = "login"
BEGUN_SECONDS = 600
"""How long a user may take to log in on the login server."""
TIMEOUT_SECONDS = 10.0
_CODE = re.compile(r"[\x21-\x7e]{1,512}")
_MISCONFIGURED = frozenset(
    {
        *("invalid_client", "unauthorized_client", "unsupported_grant_type"),  # RFC 6749, 5.2
        *("incorrect_client_credentials", "redirect_uri_mismatch", "application_suspended"),  # GitHub's
    }
)
"""Errors of the login server that this application's settings cause. All others are about the code, and a client can
cause those: an invented code must not count as a server failure."""


@router.get("/login", include_in_schema=False)
async def login(state: Given) -> RedirectResponse:
    """Redirect the user to the login server. A cookie holds the values that only the same browser can bring back."""
    verifier = secrets.token_urlsafe(48)
    async with _client(state) as client:
        url, returned = client.create_authorization_url(f"{_site(state)}/login/oauth/authorize", code_verifier=verifier)
    response = RedirectResponse(url, 302)
    value = state.sessions.sign(BEGUN, {"state": returned, "verifier": verifier})
    response.set_cookie(value=value, max_age=BEGUN_SECONDS, **state.sessions.cookie(BEGUN))
    return response


@router.get("/login/callback", include_in_schema=False)
async def callback(request: Request, state: Given) -> RedirectResponse:
    """Handle the return from the login server: start a session if the user may log in."""
    pending = state.sessions.read(BEGUN, request.cookies.get(state.sessions.name(BEGUN), ""), BEGUN_SECONDS)
    returned = request.query_params.get("state", "").encode()  # in a str, compare_digest accepts only ASCII
    if pending is None or not secrets.compare_digest(pending["state"].encode(), returned):
        raise Problem(400, "this login was not started in this browser, or too long ago; start it again")
    code = request.query_params.get("code")
    if code is None:
        raise Problem(403, f"the login was refused: {request.query_params.get('error', 'no reason was given')[:100]}")
    if not _CODE.fullmatch(code):
        raise Problem(400, "the login code is malformed")
    person, groups = await _person(state, code, pending["verifier"])
    if state.sessions.scope_of(person, groups) is None:
        raise Problem(403, f"{person} is not allowed to log in")
    response = RedirectResponse("/", 303)
    value = state.sessions.sign(SESSION, {"login": person, "groups": groups})
    response.set_cookie(value=value, max_age=SECONDS, **state.sessions.cookie(SESSION))
    response.delete_cookie(**state.sessions.cookie(BEGUN))
    return response


@router.post("/logout", status_code=204, dependencies=[Reader])
async def logout(state: Given, response: Response) -> None:
    """End this browser's session."""
    response.delete_cookie(**state.sessions.cookie(SESSION))


async def _person(state: State, code: str, verifier: str) -> tuple[str, list[str]]:
    """Return the user's login name, and those of the configured organizations and teams that the user belongs to.

    Raises a Problem when the login server does not confirm it.
    """
    from authlib.integrations.base_client import OAuthError
    from httpx2 import HTTPError

    try:
        async with _client(state) as client:
            await client.fetch_token(f"{_site(state)}/login/oauth/access_token", code=code, code_verifier=verifier)
            answer = await client.get(f"{_api(state)}/user")
            answer.raise_for_status()
            person: str = answer.json()["login"]
            groups = [name for name in state.settings.oauth_organizations if await _in(client, state, name, person)]
    except OAuthError as error:
        if error.error in _MISCONFIGURED:
            raise Problem(502, f"{_site(state)} rejects this application's settings: {error.error}") from error
        raise Problem(403, f"{_site(state)} refused the login: {str(error.error)[:100]}") from error
    except (HTTPError, ValueError, KeyError) as error:
        raise Problem(502, f"{_site(state)} did not confirm the login: {type(error).__name__}") from error
    return person, groups


async def _in(client: Any, state: State, group: str, person: str) -> bool:
    """Return whether a user is in an organization or team. If it is not visible to the user, they are not in it."""
    organization, _, team = group.partition("/")
    path = f"orgs/{organization}/teams/{team}/memberships/{person}" if team else f"user/memberships/orgs/{organization}"
    answer = await client.get(f"{_api(state)}/{path}")
    if answer.status_code in (403, 404):
        return False
    answer.raise_for_status()
    return bool(answer.json()["state"] == "active")  # an invited user is "pending"


def _client(state: State) -> Any:
    """Return an OAuth client. It is imported only when a user logs in, because the process must start quickly."""
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    settings = state.settings
    if not state.sessions.enabled or settings.oauth_client_secret is None:
        raise Problem(404, "login is not configured: OAUTH_CLIENT_ID or its secret is missing; use an API token")
    return AsyncOAuth2Client(
        settings.oauth_client_id,
        settings.oauth_client_secret.get_secret_value(),
        scope="read:user read:org" if settings.oauth_organizations else "read:user",
        redirect_uri=f"{settings.public_url.rstrip('/')}{router.prefix}/login/callback",
        code_challenge_method="S256",
        timeout=TIMEOUT_SECONDS,
        headers={"Accept": "application/json"},
    )


def _site(state: State) -> str:
    return state.settings.oauth_base_url.rstrip("/")


def _api(state: State) -> str:
    """Return the base URL of the API: github.com has a separate host for it, GitHub Enterprise a path."""
    return "https://api.github.com" if _site(state) == "https://github.com" else f"{_site(state)}/api/v3"
