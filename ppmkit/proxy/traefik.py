"""Traefik on a host: set the routes of users and previews, and confirm that a change is in force."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from ppmkit.errors import OperationError
from ppmkit.orchestrator.stack import routes_file
from ppmkit.proxy.probe import answer, poll
from ppmkit.release import render
from ppmkit.release.model import Color

if TYPE_CHECKING:
    import httpx

    from ppmkit.host.host import Host
    from ppmkit.orchestrator.stack import Stack
    from ppmkit.release.render import Servers

USED = ("/api/system", "/")
"""Paths that represent what users get from the api and from the frontend."""
ASIDE = "before-"
"""The prefix of routes that exist next to those in force while the proxy is replaced (ppmkit/upgrade/swap.py)."""
_LOG_LINES, _COMPLAINTS, _LONGEST_LINE = 20, 5, 500
_RECENT = timedelta(minutes=2)
_COLOR_CODE = re.compile(r"\x1b\[[0-9;]*m")


def route(
    host: Host,
    stack: Stack,
    *,
    live: Color | None,
    preview: Color | None,
    servers: Servers | None = None,
    maintenance: bool = False,
    canary: int = 0,
    logged: bool = True,
) -> None:
    """Route users to ``live`` and the loopback's preview to ``preview`` (default: live), by replacing one file.

    ``servers`` defaults to the stack's. ``canary`` percent of users' API requests go to ``preview``. Users' requests
    are logged, as always during an operation, unless ``logged`` is off.
    """
    preview = preview or live
    text = render.routes(
        host.proxy_settings,
        live=live,
        preview=preview,
        servers=servers or stack.servers((live, preview)),
        maintenance=maintenance,
        canary=canary,
        logged=logged,
    )
    host.write(routes_file(host), text)


def confirm_preview(host: Host, stack: Stack, color: Color, release: str, timeout: float) -> str | None:
    """Wait until each replica answers ready through the preview route; return None, or the last problem.

    First the route must be in force, with its servers: both colors can have the same release, and in a color that
    already serves, a replica may just have been started. The proxy uses its servers in turn, so twice as many
    consecutive good answers as there are replicas come from all of them.
    """
    servers = stack.servers((color,))[color]
    needed = 2 * max(len(urls) for urls in servers.values())
    streak = 0

    def check() -> str | None:
        nonlocal streak
        bad = (
            _in_force(host, "preview-api", f"api-{color}", servers["api"])
            or _in_force(host, "preview-frontend", f"frontend-{color}", servers["frontend"])
            or answer(host.internal, "/readyz", release)
            or answer(host.internal, "/", release)
        )
        streak = 0 if bad else streak + 1
        return bad if bad or streak >= needed else f"{streak} of {needed} answers"

    return explained(host, stack, poll(host, check, timeout))


def confirm_live(host: Host, stack: Stack, color: Color, release: str, timeout: float) -> None:
    """Wait until Traefik uses the new servers and the public port answers with the new release.

    Raises OperationError with the last problem.
    """
    servers = stack.servers((color,))[color]
    last = poll(host, lambda: unserved(host, color, servers, release), timeout)
    if last := explained(host, stack, last):
        raise OperationError(
            f"{host.name}: the proxy did not switch to {color}", step="switch", host=host.name, seen=last
        )


def unserved(
    host: Host, color: Color, servers: Mapping[str, Collection[str]], release: str, paths: Collection[str] = USED
) -> str | None:
    """Check once; return None if these servers of a color, {service: [URL]}, serve users, else the problem.

    The public port must answer for ``paths`` with the release.
    """
    return (
        _in_force(host, "api", f"api-{color}", servers["api"])
        or _in_force(host, "frontend", f"frontend-{color}", servers["frontend"])
        or next((bad for path in paths if (bad := answer(host.public, path, release))), None)
    )


def rejected(internal: httpx.Client) -> list[str]:
    """Return a line for each route that a proxy rejects, with its error message."""
    import httpx

    try:
        return [
            f"Traefik rejects the route {router['name']}: {'; '.join(router.get('error') or ['no reason given'])}"
            for router in internal.get("/api/http/routers", headers={"Host": "traefik"}).json()
            if router["status"] == "disabled" and not router["name"].startswith(ASIDE)
        ]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return []


def _refusals(host: Host, stack: Stack) -> list[str]:
    """Return the proxy's errors about its routes. Only its log reports a file that is not YAML."""
    proxies = stack.running("reverse-proxy")
    logged = [line for line in (words(host, proxies[0].id) if proxies else []) if " ERR " in line]
    return rejected(host.internal) or logged[-_COMPLAINTS:]


def words(host: Host, container: str) -> list[str]:
    """Return the proxy container's last log lines from the last two minutes, without color codes."""
    from python_on_whales import DockerException

    try:
        logs = str(host.docker.container.logs(container, tail=_LOG_LINES, since=_RECENT))
    except DockerException:
        return []
    return [line[:_LONGEST_LINE] for line in _COLOR_CODE.sub("", logs).splitlines()]


def explained(host: Host, stack: Stack, last: str | None) -> str | None:
    """Return the last problem with the proxy's own errors about it; None if there was no problem."""
    return last and "\n".join([last, *_refusals(host, stack)])


def confirm_route(host: Host, color: Color, servers: Collection[str], timeout: float) -> None:
    """Wait until Traefik sends the api's users to these servers of a color. Raises OperationError."""
    if last := poll(host, lambda: _in_force(host, "api", f"api-{color}", servers), timeout):
        raise OperationError(f"{host.name}: the proxy did not switch the api to {color}", host=host.name, seen=last)


def confirm_canary(host: Host, weights: Mapping[str, int], timeout: float) -> None:
    """Wait until Traefik splits the api's requests among services by these weights, according to its API.

    Raises OperationError with the last problem.
    """
    if last := poll(host, lambda: _weights_differ(host, weights), timeout):
        raise OperationError(f"{host.name}: the proxy did not apply the canary weights", host=host.name, seen=last)


def _in_force(host: Host, router: str, service: str, expected: Collection[str]) -> str | None:
    """Return None if Traefik's router uses the service and the service has these servers; else the actual state."""
    import httpx

    try:
        route = host.internal.get(f"/api/http/routers/{router}@file", headers={"Host": "traefik"})
        servers = host.internal.get(f"/api/http/services/{service}@file", headers={"Host": "traefik"})
    except httpx.HTTPError as error:
        return f"Traefik's API: {type(error).__name__}: {error}"
    if route.status_code != 200 or servers.status_code != 200:
        return f"Traefik's API: {router} or {service} is not known yet (status {servers.status_code})"
    actual = {server["url"] for server in servers.json().get("loadBalancer", {}).get("servers") or []}
    if route.json().get("service") != service or actual != set(expected):
        return f"Traefik sends {router} to {route.json().get('service')} at {', '.join(sorted(actual))}"
    return None


def _weights_differ(host: Host, weights: Mapping[str, int]) -> str | None:
    import httpx

    try:
        router = host.internal.get("/api/http/routers/api@file", headers={"Host": "traefik"})
        shares = host.internal.get("/api/http/services/api-canary@file", headers={"Host": "traefik"})
    except httpx.HTTPError as error:
        return f"Traefik's API: {type(error).__name__}: {error}"
    if router.status_code != 200 or shares.status_code != 200:
        return f"Traefik's API: api-canary is not known yet (status {shares.status_code})"
    actual = {service["name"]: service["weight"] for service in shares.json().get("weighted", {}).get("services", [])}
    if router.json().get("service") != "api-canary" or actual != weights:
        return f"Traefik sends api to {router.json().get('service')} with weights {actual}"
    return None
