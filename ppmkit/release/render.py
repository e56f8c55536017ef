"""Render an environment and a release to the files on a host, as {path: content}. Pure: no host, no Docker."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ppmkit.config.backup import Continuous
from ppmkit.config.environment import GOING_BACK, Environment
from ppmkit.config.proxy import open_requests
from ppmkit.paths import PROJECT
from ppmkit.release.model import COLORS, Color, Images, Release, identify
from ppmkit.release.template import fill, fill_compose
from ppmkit.traffic.access_log import FIELDS

COMPOSE = "compose.yaml"
ROUTES = "routes.yaml"
CERTIFICATES = "certificates.yaml"
STEWARD = "steward.json"
"""Next to the Compose file, but not part of the release: new steward settings restart nothing else."""
FULL_CPU_SHARES = 8192
"""For services that answer users. Everything else on a host has Docker's default of 1,024 (with cgroup v2, a weight of
100, where this value becomes at least 300). That includes the engine, which starts dozens of processes to create a
container; users would wait for each of them."""
IDLE_CPU_SHARES = FULL_CPU_SHARES // 16
"""For work that can wait, and for a release that starts, until it gets users."""
Servers = Mapping[Color, Mapping[str, list[str]]]
"""{color: {service: [URL]}}: the containers that can answer."""


def steward(environment: Environment) -> str:
    """Return the steward's backup settings as JSON."""
    backup = environment.backup
    settings = {
        "database": str(environment.database),
        "recipients": list(backup.recipients),
        "deadline": backup.deadline.total_seconds(),
        "wal_cap": int(backup.wal_cap),
        "rate": None if backup.rate is None else int(backup.rate),
        "keep": backup.keep.model_dump(),
        "targets": {target.name: target.to for target in backup.targets},
        "at": list(backup.at),
        "drill": backup.drill,
        "objective": backup.objective.total_seconds(),
        "heartbeat": "/run/secrets/heartbeat_url" if backup.heartbeat else None,
        "continuous": None if backup.continuous is None else _in_seconds(backup.continuous),
    }
    return json.dumps(settings, indent=1) + "\n"


def _in_seconds(continuous: Continuous) -> dict[str, float]:
    return {"keep": continuous.keep.total_seconds(), "interval": continuous.interval.total_seconds()}


def compose(environment: Environment, release: Release) -> str:
    """Return the Compose file of one host: this release in both colors."""
    return fill_compose(
        "docker-compose.yml.j2",
        env=environment,
        release=release,
        directory=environment.directory,
        colors=COLORS,
        full_cpu_shares=FULL_CPU_SHARES,
        idle_cpu_shares=IDLE_CPU_SHARES,
        access_log_fields=FIELDS,
    )


def routes(
    environment: Environment,
    *,
    live: Color | None,
    preview: Color | None,
    servers: Servers,
    maintenance: bool = False,
    canary: int = 0,
    logged: bool = False,
) -> str:
    """Return Traefik's dynamic configuration.

    Users are routed to ``live``, the loopback entry point to ``preview``; each must be in ``servers``. With
    ``maintenance``, users get the maintenance page and a 503. ``canary`` percent of users' API requests go to
    ``preview``. With ``logged``, users' requests are written to the access log.
    """
    public = f"Host({_literal(environment.domain)}) && " if environment.tls else ""
    return fill(
        "traefik/routes.yaml.j2",
        env=environment,
        live=live,
        preview=preview,
        canary=canary,
        logged=logged,
        servers=servers,
        maintenance=maintenance,
        attempts=_attempts(environment),
        open_requests=open_requests(environment.services.reverse_proxy.memory),
        too_large=larger_than(environment.proxy.max_body),
        public=public,
        tls=_tls(environment),
    )


def _literal(text: str) -> str:
    """Return a text as a Go string literal, which is the syntax of Traefik's rules."""
    return json.dumps(text, ensure_ascii=False) if "`" in text else f"`{text}`"


def _tls(environment: Environment) -> dict[str, Any]:
    """Return the TLS options of users' routes: the source of the certificate. It is requested for the route's name."""
    if not environment.acme:
        return {}
    names = {"domains": [{"main": environment.wildcard}]} if environment.wildcard else {}
    return {"certResolver": "letsencrypt", **names}


def certificates(environment: Environment, release: Release) -> dict[str, str]:
    """Return {file: content} of the file next to the routes that points the proxy at a custom certificate, if any."""
    if not environment.tls or environment.acme:
        return {}
    return {CERTIFICATES: fill("traefik/certificates.yaml.j2", release=release)}


def _attempts(environment: Environment) -> int:
    """Return how often the proxy retries a server that does not listen: enough for a hold and its rollback.

    Traefik's waits grow from 250 ms to twice that, and are 1.44 times 250 ms on average (pkg/middlewares/retry).
    """
    seconds = (environment.upgrade.hold_limit + GOING_BACK).total_seconds()
    return max(40, math.ceil(seconds / (0.25 * 1.44)))


def larger_than(limit: int) -> str:
    """Return a regular expression for the decimal numbers above ``limit``."""
    digits = str(limit)
    more = f"[1-9][0-9]{{{len(digits)},}}"
    same = [
        f"{digits[:place]}[{int(digit) + 1}-9][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if digit != "9"
    ]
    return f"^0*({'|'.join([more, *same])})$"


def dev(environment: Environment, images: Mapping[str, str], ca: str | None = None) -> str:
    """Given base images by name and a site's own CA bundle, return the Compose file of a `dev` environment."""
    return fill_compose("dev/compose.yaml.j2", env=environment, images=images, root=PROJECT, ca=ca)


def release(environment: Environment, images: Images, secrets: Mapping[str, str]) -> Release:
    """Return the release for these images, secret versions and settings."""
    unnamed = Release(id="", images=images, secrets=dict(secrets))
    return unnamed.model_copy(update={"id": identify(tree(environment, unnamed))})


def tree(environment: Environment, release: Release) -> dict[str, str]:
    """Return {path: content} of ``releases/<id>/``, the immutable description of the release.

    The routes are those in force when the release serves, with the servers' Compose names.
    """
    services = environment.services
    names = {"api": (services.api.replicas, 8000), "frontend": (services.frontend.replicas, 8080)}
    servers: Servers = {
        color: {
            service: [f"http://{environment.project}-{service}-{color}-{n + 1}:{port}" for n in range(count)]
            for service, (count, port) in names.items()
        }
        for color in COLORS[:1]
    }
    return {
        COMPOSE: compose(environment, release),
        f"traefik/dynamic/{ROUTES}": routes(environment, live=COLORS[0], preview=COLORS[0], servers=servers),
        **{f"traefik/dynamic/{name}": text for name, text in certificates(environment, release).items()},
    }


SETTINGS = "steward/settings.json"
"""The file that the steward reads when it starts, below the environment's directory."""
