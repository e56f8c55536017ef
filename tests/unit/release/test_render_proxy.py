"""What the proxy of a host would get: its routes, its certificates, its secrets."""

from __future__ import annotations

import difflib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ppmkit.config.environment import Environment
from ppmkit.release import render
from ppmkit.release.model import Images
from tests.support.rendered import CLOSED, DNS, OWN, PRODUCTION, SECRETS, compose_of
from tests.unit.conftest import environment_of


def test_routes_send_users_to_live_and_the_loopback_to_preview(environment: Environment) -> None:
    servers = {c: {"api": [f"http://{c}:8000"], "frontend": [f"http://{c}:8080"]} for c in ("blue", "green")}
    text = render.routes(environment, live="blue", preview="green", servers=servers)  # type: ignore[arg-type]
    routers = YAML(typ="safe").load(text)["http"]["routers"]
    assert routers["api"]["service"] == "api-blue"
    assert routers["edge"]["entryPoints"] == ["web"]
    assert all(routers[name]["parentRefs"] == ["edge"] for name in ("api", "too-large", "frontend"))
    assert routers["preview-api"]["service"] == "api-green"
    assert routers["preview-api"]["entryPoints"] == ["internal"]
    assert routers["proxy-api"]["entryPoints"] == ["internal"]


def test_nobody_is_sent_to_what_the_api_has_beside_its_paths(environment: Environment) -> None:
    servers: dict[str, Any] = {c: {"api": [f"http://{c}:8000"], "frontend": []} for c in ("blue", "green")}
    text = render.routes(environment, live="blue", preview="green", servers=servers)  # its metrics, for one
    routers = YAML(typ="safe").load(text)["http"]["routers"]
    assert routers.pop("too-large")["middlewares"] == ["too-large"]  # which answers all by itself

    rules = [router["rule"] for router in routers.values() if router.get("service", "").startswith("api-")]
    assert sorted(rules) == [
        "Host(`preview`) && (PathPrefix(`/api`) || Path(`/readyz`) || Path(`/statusz`))",
        "PathPrefix(`/api`)",
    ]


@pytest.mark.parametrize(("changes", "points"), [({}, {"web", "internal"}), (OWN, {"web", "websecure", "internal"})])
def test_users_requests_are_logged_while_a_host_changes_and_only_then(
    changes: dict[str, Any], points: set[str], images: Images
) -> None:
    environment = environment_of(**changes)
    servers: dict[str, Any] = {"blue": {"api": ["http://blue:8000"], "frontend": []}}
    quiet, logged = (
        render.routes(environment, live="blue", preview="blue", servers=servers, logged=logged)
        for logged in (False, True)
    )
    command = compose_of(environment, images)["services"]["reverse-proxy"]["command"]

    changed = [line for line in difflib.ndiff(quiet.splitlines(), logged.splitlines()) if line[0] in "+-"]
    assert changed == ["+       observability: {accessLogs: true}"]
    off = re.findall(r"--entryPoints\.(\w+)\.observability\.accessLogs=false", "\n".join(command))
    assert set(off) == points, "a router that says nothing logs where its entry point does"


def test_a_canary_shares_out_the_api_and_leaves_the_page_with_the_live_color(environment: Environment) -> None:
    servers = {c: {"api": [f"http://{c}:8000"], "frontend": [f"http://{c}:8080"]} for c in ("blue", "green")}
    text = render.routes(environment, live="blue", preview="green", servers=servers, canary=5)  # type: ignore[arg-type]
    http = YAML(typ="safe").load(text)["http"]
    assert http["routers"]["api"]["service"] == "api-canary"
    assert http["services"]["api-canary"]["weighted"]["services"] == [
        {"name": "api-blue", "weight": 95},
        {"name": "api-green", "weight": 5},
    ]
    assert http["routers"]["frontend"]["service"] == "frontend-blue"
    assert http["routers"]["preview-api"]["service"] == "api-green"


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 41), st.integers(0, 3))
def test_a_length_is_too_large_exactly_above_the_limit(limit: int, length: int, zeros: int) -> None:
    for number in (length, limit, limit + 1, limit - 1):
        found = re.match(render.larger_than(limit), "0" * zeros + str(number))
        assert bool(found) == (number > limit)


def test_with_https_users_are_only_served_by_their_domain_with_a_certificate() -> None:
    servers = {"blue": {"api": ["http://b:8000"], "frontend": ["http://b:8080"]}}
    text = render.routes(environment_of(**PRODUCTION), live="blue", preview="blue", servers=servers)  # type: ignore[arg-type]
    edge = YAML(typ="safe").load(text)["http"]["routers"]["edge"]
    assert edge["rule"] == "Host(`ppm.example.org`) && PathPrefix(`/`)"
    assert edge["entryPoints"] == ["websecure"]
    assert edge["tls"] == {"certResolver": "letsencrypt"}


def test_secrets_of_the_proxy_are_mounted_by_nobody_else(images: Images) -> None:
    for changes in (CLOSED, OWN):
        environment = environment_of(**changes)
        services = compose_of(environment, images)["services"]
        mounted = list(environment.proxy_secrets) if environment.acme else []
        assert services["reverse-proxy"].get("secrets", []) == mounted
        assert services["api-blue"]["secrets"] == ["session_secret"]
        assert services["worker-green"]["secrets"] == []


def test_the_proxy_learns_where_its_ca_and_its_secrets_are_never_what_they_are(images: Images) -> None:
    proxy = compose_of(environment_of(**CLOSED), images)["services"]["reverse-proxy"]

    assert proxy["environment"] == {
        "GOMEMLIMIT": str((256 << 20) * 9 // 10),
        "LEGO_CA_CERTIFICATES": "/run/secrets/acme_ca",
        "AZURE_CLIENT_ID_FILE": "/run/secrets/dns_client_id",
        "AZURE_CLIENT_SECRET_FILE": "/run/secrets/dns_client_secret",
        "AZURE_TENANT_ID": "example",
    }
    assert "--certificatesResolvers.letsencrypt.acme.dnsChallenge.provider=azuredns" in proxy["command"]
    assert not any("httpChallenge" in option for option in proxy["command"])


def test_a_wildcard_is_asked_for_in_the_place_of_the_domain() -> None:
    environment = environment_of(**{**CLOSED, "proxy": {**CLOSED["proxy"], "dns_challenge": {**DNS, "wildcard": True}}})  # type: ignore[dict-item]
    servers = {"blue": {"api": ["http://b:8000"], "frontend": ["http://b:8080"]}}
    text = render.routes(environment, live="blue", preview="blue", servers=servers)  # type: ignore[arg-type]
    edge = YAML(typ="safe").load(text)["http"]["routers"]["edge"]

    assert edge["rule"].startswith("Host(`ppm.example.org`)")
    assert edge["tls"] == {"certResolver": "letsencrypt", "domains": [{"main": "*.example.org"}]}


def test_one_key_takes_certificates_from_the_staging_ca(images: Images) -> None:
    staging = {**PRODUCTION, "proxy": {**PRODUCTION["proxy"], "staging": True}}  # type: ignore[dict-item]
    command = compose_of(environment_of(**staging), images)["services"]["reverse-proxy"]["command"]

    assert any("acme.caServer=https://acme-staging-v02" in option for option in command)


def test_another_certificate_of_the_own_is_another_file_and_not_another_proxy(images: Images) -> None:
    environment = environment_of(**OWN)
    versions = ({"tls_certificate": name * 8, "tls_key": name * 8} for name in "ab")
    releases = [render.release(environment, images, SECRETS | version) for version in versions]

    before, after = (render.tree(environment, release) for release in releases)

    assert releases[0].id != releases[1].id
    proxies = [YAML(typ="safe").load(tree[render.COMPOSE])["services"]["reverse-proxy"] for tree in (before, after)]
    assert proxies[0] == proxies[1]
    [found] = YAML(typ="safe").load(after["traefik/dynamic/certificates.yaml"])["tls"]["certificates"]
    assert found["keyFile"] == "/run/certificates/tls_key/bbbbbbbb"
    mounts = {mount["source"]: mount["target"] for mount in proxies[0]["volumes"] if "certificates" in mount["target"]}
    assert mounts == {
        f"/srv/ppm/test/secrets/{name}": f"/run/certificates/{name}" for name in ("tls_certificate", "tls_key")
    }


def test_https_speaks_tls_1_2_and_newer_and_browsers_remember_it() -> None:
    servers = {"blue": {"api": ["http://b:8000"], "frontend": ["http://b:8080"]}}
    text = render.routes(environment_of(**OWN), live="blue", preview="blue", servers=servers)  # type: ignore[arg-type]
    found = YAML(typ="safe").load(text)

    assert found["tls"]["options"]["default"]["minVersion"] == "VersionTLS12"
    assert found["http"]["middlewares"]["security-headers"]["headers"]["stsSeconds"] == 31_536_000
