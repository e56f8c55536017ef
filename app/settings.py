"""Settings from the environment; secrets from files, and only in development from environment values."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import PpmError
from app.scope import Scope

SECRETS = Path("/run/secrets")
MIN_SECRET = 32


def _secret(name: str) -> str | None:
    """Return the content of the file that NAME_FILE names, or of /run/secrets/name; None when that file is missing."""
    path = Path(os.environ.get(f"{name.upper()}_FILE") or SECRETS / name)
    return path.read_text().strip() if path.is_file() else None


class Settings(BaseSettings):
    """The settings of the containers."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    app_env: Literal["development", "test", "production"] = "production"
    database_url: str = "sqlite:////data/ppm.db"
    session_secret: SecretStr | None = None
    session_secret_previous: SecretStr | None = None
    session_secret_previous_until: AwareDatetime | None = None
    """When the previous secret expires, from the second line of its file: `until 2026-12-01T00:00:00+00:00`. None: when
    its file is removed."""
    scan_interval_minutes: int = Field(default=60, gt=0)
    scan_private_addresses: bool = False
    scan_files: Path | None = None
    """The folder whose repositories may be scanned, as file:///…; None in production. Clients can add them only in
    development."""
    scan_known_hosts: tuple[str, ...] = ()
    """The hosts that repositories may be fetched from by SSH, each with its key, as `ssh-keyscan` prints them."""
    git_deploy_key: SecretStr | None = None
    """The private key for those hosts; only the worker has it."""
    cache_directory: Path | None = None
    cors_origin: str = ""
    rate_limit_per_minute: int | None = Field(default=None, gt=0)
    """Per caller; the proxy limits addresses. None: callers are not limited."""
    api_replicas: int = Field(default=1, gt=0)
    """The number of containers that share a caller's requests: each allows its part of them."""
    oauth_client_id: str = ""
    oauth_client_secret: SecretStr | None = None
    oauth_base_url: str = "https://github.com"
    oauth_logins: dict[str, Scope] = {}
    """The scopes of the users who may log in, by login name in lower case. `*` is any user."""
    oauth_organizations: dict[str, Scope] = {}
    """The scopes of the members of an organization, or of a team (`organization/team`), by name in lower case."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """The upstream proxies whose statement of a client's address is trusted."""
    public_url: str = "http://localhost"
    """The page's URL for browsers."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    ppm_release: str = "dev"
    ppm_color: str | None = None
    drain_seconds: int = Field(default=30, gt=0)
    leave_seconds: float = Field(default=1, ge=0)
    """How long the port stays open after the signal to stop, for clients that have not noticed yet."""
    migrate_at_start: bool = True
    facts_directory: Path = Path("/facts")
    """The folder with the facts about the host."""
    certificate_address: str = Field(default="", pattern=r"^([^:]+:\d+)?$")
    """Where the proxy accepts https, as HOST:PORT; if empty, there is no certificate."""
    metrics_port: int | None = None
    """The worker's port for metrics; the api serves them on its own port."""
    otel_exporter_otlp_endpoint: str = ""
    """Where traces are sent, by OTLP over HTTP; if empty, there are none."""

    @field_validator("oauth_logins", "oauth_organizations")
    @classmethod
    def _in_lower_case(cls, scopes: dict[str, Scope]) -> dict[str, Scope]:
        return {name.lower(): scope for name, scope in scopes.items()}

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read each secret from its file; ignore values of the environment, which `docker inspect` shows."""
        values = dict(values)
        for name in ("session_secret", "session_secret_previous", "oauth_client_secret", "git_deploy_key"):
            if values.get("app_env", "production") != "development":
                values.pop(name, None)
            if (content := _secret(name)) is not None:
                values[name] = content
        previous, ends, until = str(values.get("session_secret_previous") or "").partition("\nuntil ")
        if ends:
            values |= {"session_secret_previous": previous, "session_secret_previous_until": until}
        return values

    def check_session_secret(self) -> None:
        """Raise PpmError in production when the session secret is missing or too short. Only the api signs sessions."""
        secret = self.session_secret.get_secret_value() if self.session_secret else ""
        if self.app_env == "production" and len(secret) < MIN_SECRET:
            raise PpmError(
                f"the session secret is missing or shorter than {MIN_SECRET} characters: "
                f"mount it at {SECRETS / 'session_secret'}, or name its file in SESSION_SECRET_FILE"
            )
