"""Traefik on a host: where it sends users and previews, and proof that a change is in force."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ppmkit.errors import UpgradeError
from ppmkit.release import render
from ppmkit.release.model import COLORS, Color

if TYPE_CHECKING:
    import httpx

    from ppmkit.host.host import Host
    from ppmkit.orchestrator.stack import Stack
    from ppmkit.release.render import Servers

_POLL = 0.1
_SYSTEM = "/statusz"
RELEASE_HEADER = "X-PPM-Release"
USED = ("/api/system", "/")
"""What users are served by, of the api and of the frontend."""
ASIDE = "before-"
"""The prefix of routes that lie beside those in force while the proxy is replaced (ppmkit/upgrade/swap.py)."""
_LOG_LINES, _COMPLAINTS, _LONGEST_LINE = 20, 5, 500
_RECENT = timedelta(minutes=2)
_COLOR_CODE = re.compile(r"\x1b\[[0-9;]*m")


def _path(host: Host) -> PurePosixPath:
    return host.environment.directory / "traefik" / "dynamic" / render.ROUTES


def live_color(host: Host) -> Color | None:
    """Return the colour that users are sent to, as the routes on the host say.

    None before the first deploy, and when somebody made the routes unreadable.
    """
    text = host.read(_path(host))
    if text is None:
        return None
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        routers = YAML(typ="safe").load(text)["http"]["routers"]
        # A canary splits the api's requests only, and maintenance closes the frontend.
        services = {routers[role]["service"] for role in ("frontend", "api") if role in routers}
    except (YAMLError, LookupError, TypeError):
        return None
    return next((color for color in COLORS if services & {f"frontend-{color}", f"api-{color}"}), None)


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
    host.write(_path(host), text)


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


def confirm_worker(host: Host, release: str, since: datetime, timeout: float, *, working: bool) -> str | None:
    """Wait until the api tells of a worker of this release that began since then and lives; return None, or what
    was seen last. With ``working`` it must have taken over too: it has a lease, so it is not on standby.
    """
    import httpx

    def seen() -> str | None:
        try:
            workers = _system(host)["workers"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            return f"GET {_SYSTEM}: {type(error).__name__}: {error}"
        for worker in workers:
            ours = worker["release"] == release and datetime.fromisoformat(worker["since"]) >= since
            if ours and not (working and worker["standby"]):
                return None
        living = [f"{w['name']} of release {w['release']}{' on standby' if w['standby'] else ''}" for w in workers]
        return f"GET {_SYSTEM}: the living workers are: {', '.join(living) or 'none'}"

    return poll(host, seen, timeout)


def confirm_live(host: Host, stack: Stack, color: Color, release: str, timeout: float) -> None:
    """Wait until Traefik has the new servers in force and the public port answers with the new release.

    Raises UpgradeError with what was seen last.
    """
    servers = stack.servers((color,))[color]
    last = poll(host, lambda: unserved(host, color, servers, release), timeout)
    if last := explained(host, stack, last):
        raise UpgradeError(
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


def silent(host: Host) -> str | None:
    """Ask the proxy for a sign of life; return None, or what came in its place."""
    import httpx

    try:
        answer = host.internal.get("/ping")
    except httpx.HTTPError as error:
        return f"GET /ping: {type(error).__name__}: {error}"
    return None if answer.status_code == 200 else f"GET /ping: status {answer.status_code}"


def explained(host: Host, stack: Stack, last: str | None) -> str | None:
    """Return what was seen last, with the proxy's own words on it; None when nothing was wrong."""
    return last and "\n".join([last, *_refusals(host, stack)])


def confirm_route(host: Host, color: Color, servers: Collection[str], timeout: float) -> None:
    """Wait until Traefik sends the api's users to these servers of a colour. Raises UpgradeError."""
    if last := poll(host, lambda: _in_force(host, "api", f"api-{color}", servers), timeout):
        raise UpgradeError(f"{host.name}: the proxy did not turn to {color}", host=host.name, seen=last)


def confirm_canary(host: Host, weights: Mapping[str, int], timeout: float) -> None:
    """Wait until Traefik shares the api's requests among services by these weights, as its API says.

    Raises UpgradeError with what was seen last.
    """
    if last := poll(host, lambda: _not_shared(host, weights), timeout):
        raise UpgradeError(f"{host.name}: the proxy did not share out the requests", host=host.name, seen=last)


def poll(host: Host, seen: Callable[[], str | None], timeout: float) -> str | None:
    """Look until nothing is wrong, for so many seconds; return None, or what was seen last."""
    deadline = time.monotonic() + timeout
    while (last := seen()) and time.monotonic() < deadline:
        host.rest(_POLL)
    return last


def schema_revision(host: Host) -> str | None:
    """Return the revision of the database as the api that runs tells it; None when none does."""
    import httpx

    try:
        revision: str | None = _system(host)["database"]["revision"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
    return revision


def _system(host: Host) -> Any:
    """Return what the api tells the host alone of itself. Raises httpx.HTTPError or ValueError.

    A release of before tells it to everybody at another path; it answers 404 here, or with the page, by routes of then.
    """
    answer = host.internal.get(_SYSTEM)
    if answer.status_code == 404 or answer.headers.get("Content-Type", "").startswith("text/html"):
        answer = host.internal.get("/api/system")
    return answer.raise_for_status().json()


def answer(client: httpx.Client, path: str, release: str, timeout: float = 5) -> str | None:
    """Ask for a path; return None for a 200 of this release, else what came."""
    import httpx

    try:
        answer = client.get(path, timeout=timeout)
    except httpx.HTTPError as error:
        return f"GET {path}: {type(error).__name__}: {error}"
    got = answer.headers.get(RELEASE_HEADER)
    if answer.status_code == 200 and got == release:
        return None
    return f"GET {path}: status {answer.status_code}, {RELEASE_HEADER}: {got}, body: {answer.text[:500].strip()}"


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
