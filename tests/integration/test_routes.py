"""The routes as a real Traefik understands them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from python_on_whales import DockerClient
from ruamel.yaml import YAML

from ppmkit.config.environment import Environment, Images
from ppmkit.images.bases import ensure_bases
from ppmkit.proxy.traefik import rejected
from ppmkit.release import render
from ppmkit.release.model import Color
from tests.integration.conftest import address
from tests.support.waiting import eventually
from tests.unit.conftest import environment_of

SERVERS = {c: {"api": [f"http://{c}:8000"], "frontend": [f"http://{c}:8080"]} for c in ("blue", "green")}
OPTIONS = (
    "--entryPoints.web.address=:8000",
    "--entryPoints.websecure.address=:8443",
    "--entryPoints.internal.address=:8081",
    "--providers.file.directory=/etc/traefik/dynamic",
    "--providers.file.watch=true",
    "--providers.providersThrottleDuration=100ms",
    "--api=true",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Traefik reads routes from."""
    folder = tmp_path_factory.mktemp("routes")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def traefik(docker: DockerClient, folder: Path) -> Iterator[httpx.Client]:
    """The API of a Traefik with the options that a host's has."""
    image = ensure_bases(Images(bases="local"), docker, print)["traefik"]
    container = docker.run(image, OPTIONS, detach=True, volumes=[(folder, "/etc/traefik/dynamic", "ro")])
    container.reload()
    with httpx.Client(
        base_url=f"http://{address(container)}:8081/api/http", headers={"Host": "traefik"}, trust_env=False
    ) as client:
        yield client
    docker.remove(container, force=True)


def replace(folder: Path, text: str) -> None:
    """Put routes in force, in one step."""
    (folder / "new").write_text(text)
    (folder / "new").rename(folder / render.ROUTES)


def loaded(environment: Environment) -> Any:
    """Return the routes of an environment, as data."""
    text = render.routes(environment, live="blue", preview="blue", servers=SERVERS)  # type: ignore[arg-type]
    return YAML(typ="safe").load(text)


def understood(
    traefik: httpx.Client, folder: Path, environment: Environment | None = None, **routes: Any
) -> dict[str, Any]:
    """Put routes in force; return {service: what Traefik made of it}, once it has them and has enabled every router."""
    text = render.routes(environment or environment_of(), servers=SERVERS, **routes)  # type: ignore[arg-type]
    replace(folder, text)
    http = YAML(typ="safe").load(text)["http"]
    wanted = {name: router.get("service") for name, router in http["routers"].items()}
    has: dict[str, Any] = {}

    def in_force() -> bool:
        has.update(routers=_of_the_file(traefik, "routers"), services=_of_the_file(traefik, "services"))
        enabled = {name: r.get("service") for name, r in has["routers"].items() if r["status"] == "enabled"}
        return enabled == wanted and has["services"].keys() == http["services"].keys()

    assert eventually(in_force), has
    services: dict[str, Any] = has["services"]
    return services


def _of_the_file(traefik: httpx.Client, kind: str) -> dict[str, Any]:
    try:
        answer = traefik.get(f"/{kind}")
    except httpx.TransportError:
        return {}
    found = answer.json() if answer.status_code == 200 else []
    return {entry["name"].removesuffix("@file"): entry for entry in found if entry["provider"] == "file"}


@pytest.mark.parametrize(("live", "preview"), [(None, None), (None, "blue"), ("blue", "blue"), ("blue", "green")])
def test_traefik_takes_every_form_of_the_routes(
    traefik: httpx.Client, folder: Path, live: Color | None, preview: Color | None
) -> None:
    services = understood(traefik, folder, live=live, preview=preview)

    assert all(service["status"] == "enabled" for service in services.values())


def test_traefik_shares_out_a_canary_by_weight(traefik: httpx.Client, folder: Path) -> None:
    services = understood(traefik, folder, live="blue", preview="green", canary=5)

    assert services["api-canary"]["status"] == "enabled"
    assert services["api-canary"]["weighted"]["services"] == [
        {"name": "api-blue", "weight": 95},
        {"name": "api-green", "weight": 5},
    ]


@pytest.mark.parametrize("domain", ['{{ env "path" }}.example.org', "a`b'c\"d\\e$f.example.org"], ids=["go", "quotes"])
def test_traefik_reads_the_domain_as_it_is(traefik: httpx.Client, folder: Path, domain: str) -> None:
    environment = environment_of(url="https://ppm.example.org", proxy={"certificates": "files"})
    asked = environment.model_copy(update={"url": f"https://{domain}"})  # unchecked: no check of `url` is relied on

    understood(traefik, folder, asked, live="blue", preview="blue")

    literal, rule = f"`{domain}`" if "`" not in domain else json.dumps(domain), ""

    def read() -> bool:
        nonlocal rule
        rule = _of_the_file(traefik, "routers").get("edge", {}).get("rule", "")
        return rule == f"Host({literal}) && PathPrefix(`/`)"

    assert eventually(read), rule


NAMES = (
    "localhost",
    "ppm.example.org",
    "xn--bcher-kva.example.org",
    "192.0.2.10",
    f"{'a' * 63}.{'b' * 63}.org",
    "1-2.x3",
)


@given(names=st.lists(st.from_regex(r"[a-zA-Z0-9.üß日-]{1,80}", fullmatch=True), max_size=30))
@settings(
    max_examples=3,
    phases=set(Phase) - {Phase.shrink},  # each example that fails waits twenty seconds
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_traefik_takes_the_route_of_every_url_that_an_environment_may_have(
    traefik: httpx.Client, folder: Path, names: list[str]
) -> None:
    routes, rules = loaded(environment_of()), {}
    for name in (*NAMES, *names):
        with suppress(ValidationError):
            http = loaded(environment_of(url=f"https://{name}", proxy={"certificates": "files"}))["http"]
            rules[f"r{len(rules)}"] = http["routers"]["edge"]["rule"]
    routes["http"]["routers"] |= {
        name: {"entryPoints": ["web"], "rule": rule, "service": "api-blue"} for name, rule in rules.items()
    }
    replace(folder, json.dumps(routes))

    def taken() -> bool:
        found = _of_the_file(traefik, "routers")
        return {n: r["rule"] for n, r in found.items() if r["status"] == "enabled" and n in rules} == rules

    assert len(rules) >= len(NAMES)
    assert eventually(taken), _of_the_file(traefik, "routers")


def test_why_traefik_rejects_a_route_is_told_in_its_own_words(traefik: httpx.Client, folder: Path) -> None:
    routes = loaded(environment_of())
    routes["http"]["routers"]["edge"]["rule"] = "Host(`bücher`)"
    replace(folder, json.dumps(routes))
    with httpx.Client(base_url=str(traefik.base_url).removesuffix("/api/http/"), trust_env=False) as internal:
        assert eventually(lambda: rejected(internal)), "it takes it"
        [line] = rejected(internal)

    assert line.startswith("Traefik rejects the route edge@file: error while parsing rule")
    assert 'invalid value "bücher" for Host matcher' in line
