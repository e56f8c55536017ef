"""The section `app` of an environment: what the application is told. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from ppmkit.config.types import Group, KnownHost, Model


class App(Model):
    """Settings of the application; each becomes one environment variable of its containers."""

    env: Literal["development", "test", "production"] = "production"
    """APP_ENV."""
    database_url: str = "sqlite:////data/ppm.db"
    """DATABASE_URL. SQLite lies on the volume that is mounted at /data."""
    rate_limit_per_minute: PositiveInt = 600
    """RATE_LIMIT_PER_MINUTE: requests per minute and client address, to page and api, and of each token or person to
    the api; so many may come at once. Each api container allows its part of a token's."""
    scan_interval_minutes: PositiveInt = 60
    """SCAN_INTERVAL_MINUTES: how often the worker looks at every repository."""
    scan_private_addresses: bool = False
    """SCAN_PRIVATE_ADDRESSES: whether repositories may be on machines of the own network. Whoever may add a project can
    then let the worker connect to any of them."""
    scan_known_hosts: tuple[KnownHost, ...] = ()
    """SCAN_KNOWN_HOSTS: the hosts that repositories may be fetched from by SSH, each with its key, as `ssh-keyscan`
    prints them; compare them with what the host's owner has published. The worker shows them the secret
    `git_deploy_key`. Default: nothing is fetched by SSH."""
    cors_origin: str | None = None
    """CORS_ORIGIN: the origin of a frontend that is served elsewhere. Default: none is allowed."""
    oauth_client_id: str | None = None
    """OAUTH_CLIENT_ID of the GitHub OAuth app; the secret half is the secret `oauth_client_secret`."""
    oauth_base_url: str = "https://github.com"
    """OAUTH_BASE_URL: where people log in; the address of a GitHub Enterprise server, if it is one."""
    oauth_logins: dict[str, Literal["read", "write", "admin"]] = Field(default_factory=dict)
    """OAUTH_LOGINS: who may log in, by their name at GitHub, and what they may do; `"*"` is anybody."""
    oauth_organizations: dict[Group, Literal["read", "write", "admin"]] = Field(default_factory=dict)
    """OAUTH_ORGANIZATIONS: what the members of an organisation at GitHub may do, or of a team of one
    (`organisation/team`), if `oauth_logins` does not name them."""
    vite_api_base_url: str = "/api"
    """VITE_API_BASE_URL: where the built frontend finds the api. Compiled in."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """LOG_LEVEL."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    """OTEL_EXPORTER_OTLP_ENDPOINT: where traces of requests and scans go, by OTLP over HTTP. Default: none are made."""
