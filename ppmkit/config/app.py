"""The section `app` of an environment: the application's settings. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from ppmkit.config.types import Group, KnownHost, Model


class App(Model):
    """The application's settings. All but `vite_api_base_url` become environment variables of its containers."""

    env: Literal["development", "test", "production"] = "production"
    """APP_ENV: the mode that the application runs in."""
    database_url: str = "sqlite:////data/ppm.db"
    """DATABASE_URL. The SQLite file is on the volume that is mounted at /data."""
    rate_limit_per_minute: PositiveInt = 600
    """RATE_LIMIT_PER_MINUTE: how many requests per minute each client address may send to the page and the api, and
    each token or logged-in person may send to the api. A burst of that many at once is allowed. Each api container
    allows an equal share of the limit of a token or person."""
    scan_interval_minutes: PositiveInt = 60
    """SCAN_INTERVAL_MINUTES: how often the worker scans every repository."""
    scan_private_addresses: bool = False
    """SCAN_PRIVATE_ADDRESSES: whether repositories may be on machines in your own network. If true, anyone who may add
    a project can make the worker connect to any of these machines."""
    scan_known_hosts: tuple[KnownHost, ...] = ()
    """SCAN_KNOWN_HOSTS: the hosts that repositories may be fetched from over SSH, each with its host key, as printed by
    `ssh-keyscan`. Compare each key with the one that the host's owner has published. The worker logs in with the secret
    `git_deploy_key`. Default: nothing is fetched over SSH."""
    cors_origin: str | None = None
    """CORS_ORIGIN: the origin of a frontend that is served elsewhere. Default: no other origin is allowed."""
    oauth_client_id: str | None = None
    """OAUTH_CLIENT_ID: the client ID of the GitHub OAuth app. Its client secret is the secret `oauth_client_secret`."""
    oauth_base_url: str = "https://github.com"
    """OAUTH_BASE_URL: where users log in. For GitHub Enterprise, the address of your server."""
    oauth_logins: dict[str, Literal["read", "write", "admin"]] = Field(default_factory=dict)
    """OAUTH_LOGINS: GitHub user names that may log in, each with what the user may do. `"*"` is any user."""
    oauth_organizations: dict[Group, Literal["read", "write", "admin"]] = Field(default_factory=dict)
    """OAUTH_ORGANIZATIONS: GitHub organizations or teams (`organization/team`), each with what its members may do if
    `oauth_logins` does not name them."""
    vite_api_base_url: str = "/api"
    """VITE_API_BASE_URL: where the frontend finds the api. Compiled into the frontend."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """LOG_LEVEL: the least severe messages that the application logs."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    """OTEL_EXPORTER_OTLP_ENDPOINT: where traces of requests and scans are sent (OTLP over HTTP). Default: no traces."""
