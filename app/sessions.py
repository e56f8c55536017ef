"""Browser sessions of people: a signed cookie says who the user is; each request looks up what the user may do.

The cookie is signed with the session secret. The previous secret is still valid for reading, so that a rotation logs no
user out, but only until the time that is stored with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.scope import Scope
from app.settings import Settings

SESSION = "session"
SECONDS = 12 * 3600
ANYBODY = "*"


class Sessions:
    """Writes and reads cookies, each kind with a separate purpose."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self._now = now

    @property
    def _keys(self) -> list[str]:
        """The secrets whose signatures are valid now; the last one signs."""
        until = self.settings.session_secret_previous_until
        previous = self.settings.session_secret_previous if until is None or self._now() < until else None
        return [secret.get_secret_value() for secret in (previous, self.settings.session_secret) if secret is not None]

    @property
    def enabled(self) -> bool:
        """Whether users can log in."""
        return bool(self._keys and self.settings.oauth_client_id and self.settings.oauth_client_secret)

    @property
    def origin(self) -> str:
        """What a browser sends in `Origin` with a request from our page."""
        parts = urlsplit(self.settings.public_url)
        return f"{parts.scheme}://{parts.netloc}"

    def cookie(self, name: str) -> dict[str, Any]:
        """Return a cookie's attributes. With the prefix, a browser accepts it only from this very host, by https."""
        secure = self.origin.startswith("https:")
        return {"key": self.name(name), "httponly": True, "secure": secure, "samesite": "lax", "path": "/"}

    def name(self, name: str) -> str:
        """Return a cookie's full name."""
        return f"{'__Host-' if self.origin.startswith('https:') else ''}ppm_{name}"

    def sign(self, purpose: str, value: object) -> str:
        """Return a value as signed text, which cannot be changed unnoticed."""
        return str(self._serializer(purpose).dumps(value))

    def read(self, purpose: str, text: str, seconds: int) -> Any:
        """Return the value if it was signed for this purpose, at most this many seconds ago; None otherwise."""
        if not self._keys:
            return None
        try:
            return self._serializer(purpose).loads(text, max_age=seconds)
        except BadSignature:  # includes expired ones
            return None

    def scope_of(self, login: str, groups: Iterable[str] = ()) -> Scope | None:
        """Return what a user may do; None when the user may not log in.

        The entry for the user decides, else the highest scope of the user's organizations and teams, else the entry for
        any user.
        """
        logins, organizations = self.settings.oauth_logins, self.settings.oauth_organizations
        if login.lower() in logins:
            return logins[login.lower()]
        given = [organizations[group] for group in groups if group in organizations]
        return max(given, key=list(Scope).index, default=logins.get(ANYBODY))

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._keys, salt=purpose)
