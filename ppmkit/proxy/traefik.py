"""Traefik on a host: where it sends users and previews, and proof that a change is in force."""

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
"""What users are served by, of the api and of the frontend."""
ASIDE = "before-"
"""The prefix of routes that lie beside those in force while the proxy is replaced (ppmkit/upgrade/swap.py)."""
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
    """Send users to ``live`` and the loopback's preview to ``preview`` (or live too): one file, by rename.

    ``servers`` are those of the stack, unless others are given. Of users' requests to the api, ``canary`` per cent
    go to ``preview``. Users' requests are logged, as they are while anything changes, unless ``logged`` is off.
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
    """Wait until each replica answers ready through the preview route; return None, or what was seen last.

    First the route must be in force, with its servers: both colours can have the same release, and of a colour that
    serves already one replica may just have been started. The proxy takes its servers in turn, so as many good
    answers in a row as there are replicas, twice over, come from all of them.
    """
    servers = stack.servers((color,))[color]
    wanted = 2 * max(len(urls) for urls in servers.values())
    row = 0

    def seen() -> str | None:
        nonlocal row
        bad = (
            _in_force(host, "preview-api", f"api-{color}", servers["api"])
            or _in_force(host, "preview-frontend", f"frontend-{color}", servers["frontend"])
            or answer(host.internal, "/readyz", release)
            or answer(host.internal, "/", release)
        )
        row = 0 if bad else row + 1
        return bad if bad or row >= wanted else f"{row} of {wanted} answers"

    return explained(host, stack, poll(host, seen, timeout))


def confirm_live(host: Host, stack: Stack, color: Color, release: str, timeout: float) -> None:
    """Wait until Traefik has the new servers in force and the public port answers with the new release.

    Raises OperationError with what was seen last.
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
    """Ask once; return None when users are served by these servers of a colour, {service: [URL]}, else what was seen.

    The public port must answer for ``paths``, with the release.
    """
    return (
        _in_force(host, "api", f"api-{color}", servers["api"])
        or _in_force(host, "frontend", f"frontend-{color}", servers["frontend"])
        or next((bad for path in paths if (bad := answer(host.public, path, release))), None)
    )


def rejected(internal: httpx.Client) -> list[str]:
    """Return the routes that a proxy does not take and why, in its own words, a line each."""
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
    """Return what the proxy says against its routes. Of a file that is no YAML, its log alone tells."""
    proxies = stack.running("reverse-proxy")
    logged = [line for line in (words(host, proxies[0].id) if proxies else []) if " ERR " in line]
    return rejected(host.internal) or logged[-_COMPLAINTS:]


def words(host: Host, container: str) -> list[str]:
    """Return the last lines that a container of the proxy has printed in the last two minutes, without colors."""
    from python_on_whales import DockerException

    try:
        logs = str(host.docker.container.logs(container, tail=_LOG_LINES, since=_RECENT))
    except DockerException:
        return []
    return [line[:_LONGEST_LINE] for line in _COLOR_CODE.sub("", logs).splitlines()]


def explained(host: Host, stack: Stack, last: str | None) -> str | None:
    """Return what was seen last, with the proxy's own words on it; None when nothing was wrong."""
    return last and "\n".join([last, *_refusals(host, stack)])


def confirm_route(host: Host, color: Color, servers: Collection[str], timeout: float) -> None:
    """Wait until Traefik sends the api's users to these servers of a colour. Raises OperationError."""
    if last := poll(host, lambda: _in_force(host, "api", f"api-{color}", servers), timeout):
        raise OperationError(f"{host.name}: the proxy did not turn to {color}", host=host.name, seen=last)


def confirm_canary(host: Host, weights: Mapping[str, int], timeout: float) -> None:
    """Wait until Traefik shares the api's requests among services by these weights, as its API says.

    Raises OperationError with what was seen last.
    """
    if last := poll(host, lambda: _not_shared(host, weights), timeout):
        raise OperationError(f"{host.name}: the proxy did not share out the requests", host=host.name, seen=last)


def _in_force(host: Host, router: str, service: str, wanted: Collection[str]) -> str | None:
    """Return None when Traefik has the router send to the service, and that to these servers; else what it says."""
    import httpx

    try:
        found = host.internal.get(f"/api/http/routers/{router}@file", headers={"Host": "traefik"})
        servers = host.internal.get(f"/api/http/services/{service}@file", headers={"Host": "traefik"})
    except httpx.HTTPError as error:
        return f"Traefik's API: {type(error).__name__}: {error}"
    if found.status_code != 200 or servers.status_code != 200:
        return f"Traefik's API: {router} or {service} is not known yet (status {servers.status_code})"
    has = {server["url"] for server in servers.json().get("loadBalancer", {}).get("servers") or []}
    if found.json().get("service") != service or has != set(wanted):
        return f"Traefik sends {router} to {found.json().get('service')} at {', '.join(sorted(has))}"
    return None


def _not_shared(host: Host, weights: Mapping[str, int]) -> str | None:
    import httpx

    try:
        router = host.internal.get("/api/http/routers/api@file", headers={"Host": "traefik"})
        shares = host.internal.get("/api/http/services/api-canary@file", headers={"Host": "traefik"})
    except httpx.HTTPError as error:
        return f"Traefik's API: {type(error).__name__}: {error}"
    if router.status_code != 200 or shares.status_code != 200:
        return f"Traefik's API: api-canary is not known yet (status {shares.status_code})"
    has = {service["name"]: service["weight"] for service in shares.json().get("weighted", {}).get("services", [])}
    if router.json().get("service") != "api-canary" or has != weights:
        return f"Traefik sends api to {router.json().get('service')} with weights {has}"
    return None
