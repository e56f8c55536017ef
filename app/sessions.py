"""Sessions of people in a browser: a signed cookie says who it is; what they may do is looked up at each request.

It is signed by the session secret. The one before it is good for reading still, so that a rotation logs nobody out;
not for ever: it ends at the time that came with it.
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
    """Writes cookies and reads them, each kind with a purpose of its own."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self._now = now

    @property
    def _keys(self) -> list[str]:
        """What may have signed, as of now; the last one signs."""
        until = self.settings.session_secret_previous_until
        previous = self.settings.session_secret_previous if until is None or self._now() < until else None
        return [secret.get_secret_value() for secret in (previous, self.settings.session_secret) if secret is not None]

    @property
    def enabled(self) -> bool:
        """Whether anybody can log in."""
        return bool(self._keys and self.settings.oauth_client_id and self.settings.oauth_client_secret)

    @property
    def origin(self) -> str:
        """What a browser says in `Origin` when a page of ours asks."""
        parts = urlsplit(self.settings.public_url)
        return f"{parts.scheme}://{parts.netloc}"

    def cookie(self, name: str) -> dict[str, Any]:
        """Return how a cookie is set. With the prefix a browser takes it from this very host, by https, alone."""
        secure = self.origin.startswith("https:")
        return {"key": self.name(name), "httponly": True, "secure": secure, "samesite": "lax", "path": "/"}

    def name(self, name: str) -> str:
        """Return the name of a cookie."""
        return f"{'__Host-' if self.origin.startswith('https:') else ''}ppm_{name}"

    def sign(self, purpose: str, value: object) -> str:
        """Return a value as text that nobody can change."""
        return str(self._serializer(purpose).dumps(value))

    def read(self, purpose: str, text: str, seconds: int) -> Any:
        """Return the value that was signed for this purpose not so long ago; None when it was not."""
        if not self._keys:
            return None
        try:
            return self._serializer(purpose).loads(text, max_age=seconds)
        except BadSignature:  # expired is one, too
            return None

    def scope_of(self, login: str, groups: Iterable[str] = ()) -> Scope | None:
        """Return what a person may do; None when they may not log in.

        Their own line decides, else the most that an organisation or team of theirs may, else the line for anybody.
        """
        logins, organizations = self.settings.oauth_logins, self.settings.oauth_organizations
        if login.lower() in logins:
            return logins[login.lower()]
        given = [organizations[group] for group in groups if group in organizations]
        return max(given, key=list(Scope).index, default=logins.get(ANYBODY))

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._keys, salt=purpose)
