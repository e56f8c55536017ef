"""Environment and release to {path: content}, as they will lie on a host. Pure: no host, no Docker."""

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
"""Beside the Compose file and no part of the release: other settings of the steward start nothing else anew."""
FULL_CPU_SHARES = 8192
"""Of what answers users. All else on a host has Docker's 1,024, or with cgroup v2 a weight of 100 where this is 300 and
more: so has the engine, which makes a container by dozens of processes, and users would wait for each of them."""
IDLE_CPU_SHARES = FULL_CPU_SHARES // 16
"""Of what can wait for the processor, and of a release that starts until users come."""
Servers = Mapping[Color, Mapping[str, list[str]]]
"""{colour: {service: [URL]}}: the containers that can answer."""


def steward(environment: Environment) -> str:
    """Return what the steward is told about backups, as JSON."""
    wanted = environment.backup
    told = {
        "database": str(environment.database),
        "recipients": list(wanted.recipients),
        "deadline": wanted.deadline.total_seconds(),
        "wal_cap": int(wanted.wal_cap),
        "rate": None if wanted.rate is None else int(wanted.rate),
        "keep": wanted.keep.model_dump(),
        "targets": {target.name: target.to for target in wanted.targets},
        "at": list(wanted.at),
        "drill": wanted.drill,
        "objective": wanted.objective.total_seconds(),
        "heartbeat": "/run/secrets/heartbeat_url" if wanted.heartbeat else None,
        "continuous": None if wanted.continuous is None else _in_seconds(wanted.continuous),
    }
    return json.dumps(told, indent=1) + "\n"


def _in_seconds(wanted: Continuous) -> dict[str, float]:
    return {"keep": wanted.keep.total_seconds(), "interval": wanted.interval.total_seconds()}


def compose(environment: Environment, release: Release) -> str:
    """Return the Compose file of one host: both colours, as this release would run in each."""
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

    Users go to ``live``, the loopback entry point to ``preview``; each must be in ``servers``. With ``maintenance``
    users get the page that says so, and a 503. Of users' requests to the api, ``canary`` per cent go to ``preview``.
    With ``logged`` users' requests are in the access log.
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
    """Return a text as a rule of Traefik's has it: as a literal of Go's, which these rules are read as."""
    return json.dumps(text, ensure_ascii=False) if "`" in text else f"`{text}`"


def _tls(environment: Environment) -> dict[str, Any]:
    """Return where the proxy gets the certificate of users' routes. The name it asks for is the route's."""
    if not environment.acme:
        return {}
    names = {"domains": [{"main": environment.wildcard}]} if environment.wildcard else {}
    return {"certResolver": "letsencrypt", **names}


def certificates(environment: Environment, release: Release) -> dict[str, str]:
    """Return {file: content} beside the routes: where the proxy finds an own certificate, if there is one."""
    if not environment.tls or environment.acme:
        return {}
    return {CERTIFICATES: fill("traefik/certificates.yaml.j2", release=release)}


def _attempts(environment: Environment) -> int:
    """Return how often the proxy knocks at what does not listen: for the time of a hold, and of going back from it.

    Traefik waits 250 ms at first and twice that at last, 1.44 times it on average (pkg/middlewares/retry).
    """
    seconds = (environment.upgrade.hold_limit + GOING_BACK).total_seconds()
    return max(40, math.ceil(seconds / (0.25 * 1.44)))


def larger_than(limit: int) -> str:
    """Return a regular expression of the decimal numbers above ``limit``."""
    digits = str(limit)
    more = f"[1-9][0-9]{{{len(digits)},}}"
    same = [
        f"{digits[:place]}[{int(digit) + 1}-9][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if digit != "9"
    ]
    return f"^0*({'|'.join([more, *same])})$"


def dev(environment: Environment, images: Mapping[str, str], ca: str | None = None) -> str:
    """Return the Compose file of a `dev` environment, given base images by name, and a site's own CA bundle."""
    return fill_compose("dev/compose.yaml.j2", env=environment, images=images, root=PROJECT, ca=ca)


def release(environment: Environment, images: Images, secrets: Mapping[str, str]) -> Release:
    """Return the release that these images, secret versions and settings make."""
    unnamed = Release(id="", images=images, secrets=dict(secrets))
    return unnamed.model_copy(update={"id": identify(tree(environment, unnamed))})


def tree(environment: Environment, release: Release) -> dict[str, str]:
    """Return {path: content} of ``releases/<id>/``: what ran, never edited.

    The routes are as they are once the release serves, with the servers by their Compose names.
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
"""What it reads when it starts, below the environment's directory."""
