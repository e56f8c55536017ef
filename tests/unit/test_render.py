"""What a host would get, judged by the tools that read it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from deploy import render
from deploy.config import Environment
from deploy.configfile import load
from deploy.release import Images, Release
from tests.unit.conftest import environment_of

SECRETS = {"session_secret": "0a1b2c3d4e5f"}
PRODUCTION = {"url": "https://ppm.example.org", "proxy": {"letsencrypt_email": "ops@example.org"}}
DNS = {"provider": "route53", "token_variable": "AWS_SECRET_ACCESS_KEY", "variables": {"AWS_REGION": "eu-west-1"}}
CLOSED = {"url": "https://ppm.example.org", "proxy": {**PRODUCTION["proxy"], "private_ca": True, "dns_challenge": DNS}}  # type: ignore[dict-item]
OWN = {"url": "https://ppm.example.org", "proxy": {"certificates": "files"}}
SHIPPED = {"backup": {"continuous": {"keep": "2d"}}}
EVERY_WAY = pytest.mark.parametrize(
    "changes",
    [{}, PRODUCTION, CLOSED, OWN, SHIPPED],
    ids=["http", "https", "private CA, DNS", "own certificate", "changes shipped"],
)


def release_of(environment: Environment, images: Images) -> Release:
    return render.release(environment, images, SECRETS | dict.fromkeys(environment.proxy_secrets, "0a1b2c3d"))


def compose_of(environment: Environment, images: Images) -> dict[str, Any]:
    text = render.compose(environment, release_of(environment, images))
    return YAML(typ="safe").load(text)  # type: ignore[no-any-return]


def accept(file: Path) -> None:
    """Check that docker compose takes the file without a word."""
    compose = Path(sys.prefix) / "bin" / "docker-compose"
    done = subprocess.run([compose, "-f", file, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@EVERY_WAY
def test_docker_compose_accepts_what_is_rendered(changes: dict[str, Any], images: Images, tmp_path: Path) -> None:
    environment = environment_of(**changes)
    file = tmp_path / "compose.yaml"
    file.write_text(render.compose(environment, release_of(environment, images)))
    accept(file)


def test_docker_compose_accepts_what_is_rendered_for_development(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(render.dev(load("dev"), {"api": "an-image", "node": "another"}))
    accept(file)


@EVERY_WAY
def test_compose_lint_finds_nothing(changes: dict[str, Any], images: Images, tmp_path: Path) -> None:
    environment = environment_of(**changes)
    file = tmp_path / "compose.yaml"
    file.write_text(render.compose(environment, release_of(environment, images)))
    lint = Path(sys.prefix) / "bin" / "compose-lint"
    argv = [lint, "--config", ".compose-lint.yml", "--fail-on", "low", file]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_input_gives_the_same_bytes(environment: Environment, images: Images) -> None:
    release = release_of(environment, images)
    render._jinja.cache_clear()
    assert render.tree(environment, release) == render.tree(environment, release)
    assert release == release_of(environment, images)


@pytest.mark.parametrize(
    "changes",
    [
        {"app": {"log_level": "debug"}},
        {"services": {"api": {"memory": "100MiB", "cpus": 1}}},
        {"app": {"rate_limit_per_minute": 7}},
    ],
)
def test_a_setting_that_changes_what_runs_is_another_release(changes: dict[str, Any], images: Images) -> None:
    assert release_of(environment_of(**changes), images).id != release_of(environment_of(), images).id


def test_a_setting_that_changes_nothing_that_runs_is_the_same_release(images: Images) -> None:
    changed = environment_of(upgrade={"keep_releases": 9, "ready_timeout": "7s"})
    assert release_of(changed, images).id == release_of(environment_of(), images).id


def test_another_version_of_a_secret_is_another_release(environment: Environment, images: Images) -> None:
    other = render.release(environment, images, {"session_secret": "ffffffffffff"})
    assert other.id != release_of(environment, images).id


def test_the_proxy_is_not_restarted_by_another_release_of_the_application(
    environment: Environment, images: Images
) -> None:
    newer = images.model_copy(update={"api": images.frontend})
    assert (
        compose_of(environment, images)["services"]["reverse-proxy"]
        == (compose_of(environment, newer)["services"]["reverse-proxy"])
    )


def test_the_steward_has_a_network_only_when_it_needs_one(images: Images) -> None:
    kept = {"recipients": ["age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"]}
    leaving = {"backup": {**kept, "targets": [{"name": "offsite", "to": "offsite:ppm"}], "heartbeat": True}}
    plain, other, copied = (
        compose_of(environment_of(**changes), images)["services"]["steward"]
        for changes in ({}, {"app": {"log_level": "debug"}}, leaving)
    )

    assert plain == other
    assert (plain["network_mode"], plain.get("networks"), plain.get("secrets")) == ("none", None, None)
    assert (copied.get("network_mode"), copied["networks"]) == (None, ["outbound"])
    assert copied["secrets"] == ["rclone_conf", "heartbeat_url"]


def test_other_settings_of_backups_are_no_other_release(environment: Environment, images: Images) -> None:
    later = environment_of(backup={"at": ["03:00"], "keep": {"daily": 14}})

    assert render.release(environment, images, {}) == render.release(later, images, {})
    told, other = (json.loads(render.steward(each)) for each in (environment, later))
    assert {name for name, value in told.items() if value != other[name]} == {"at", "keep"}


def test_every_service_is_closed(environment: Environment, images: Images) -> None:
    for name, service in compose_of(environment, images)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"] == "10001:10001", name
        assert service["image"].startswith("sha256:"), name
        assert {"mem_limit", "cpus", "pids_limit", "healthcheck", "logging"} <= service.keys(), name
        assert "/var/run/docker.sock" not in json.dumps(service), name


def test_the_frontends_of_both_colours_and_nobody_else_share_the_assets_of_open_pages(
    environment: Environment, images: Images
) -> None:
    stack = compose_of(environment, images)
    having = {
        name: volume for name, s in stack["services"].items() for volume in s.get("volumes", []) if "kept" in volume
    }
    assert having == dict.fromkeys(("frontend-blue", "frontend-green"), "assets:/srv/kept")
    assert "assets" in stack["volumes"]


def test_only_the_proxy_publishes_ports_and_its_api_only_on_loopback(environment: Environment, images: Images) -> None:
    services = compose_of(environment, images)["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["reverse-proxy"]
    assert services["reverse-proxy"]["ports"] == ["80:8000", "127.0.0.1:8081:8081"]


def test_no_secret_value_is_rendered_only_its_file(environment: Environment, images: Images) -> None:
    assert compose_of(environment, images)["secrets"] == {
        "session_secret": {"file": "/srv/ppm/test/secrets/session_secret/0a1b2c3d4e5f"}
    }


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
    assert sorted(rules) == ["Host(`preview`) && (PathPrefix(`/api`) || Path(`/readyz`))", "PathPrefix(`/api`)"]


def test_a_canary_shares_out_the_api_and_leaves_the_page_with_the_live_colour(environment: Environment) -> None:
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
        for name in ("api-blue", "worker-green"):
            assert services[name]["secrets"] == ["session_secret"]


def test_the_key_for_repositories_is_mounted_by_the_worker_alone(images: Images) -> None:
    environment = environment_of(app={"scan_known_hosts": ["git.example.org,10.0.0.1 ssh-ed25519 AAAA+/="]})
    made = render.release(environment, images, SECRETS | dict.fromkeys(environment.worker_secrets, "0a1b2c3d"))
    services = YAML(typ="safe").load(render.tree(environment, made)[render.COMPOSE])["services"]

    mounting = {name for name, service in services.items() if "git_deploy_key" in service.get("secrets", ())}
    assert mounting == {"worker-blue", "worker-green"}
    for name in ("api-blue", "worker-blue"):
        told = services[name]["environment"]["SCAN_KNOWN_HOSTS"]
        assert json.loads(told) == ["git.example.org,10.0.0.1 ssh-ed25519 AAAA+/="]


def test_the_proxy_learns_where_its_ca_and_its_token_are_never_what_they_are(images: Images) -> None:
    proxy = compose_of(environment_of(**CLOSED), images)["services"]["reverse-proxy"]

    assert proxy["environment"] == {
        "LEGO_CA_CERTIFICATES": "/run/secrets/acme_ca",
        "AWS_SECRET_ACCESS_KEY_FILE": "/run/secrets/dns_token",
        "AWS_REGION": "eu-west-1",
    }
    assert "--certificatesResolvers.letsencrypt.acme.dnsChallenge.provider=route53" in proxy["command"]
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


def told(images: Images, **changes: Any) -> set[str]:
    """Return the variables that both api and worker get."""
    services = compose_of(environment_of(**changes), images)["services"]
    return set(services["api-blue"]["environment"]) & set(services["worker-blue"]["environment"])


def test_only_in_the_lab_may_a_repository_be_a_file(images: Images) -> None:
    assert "SCAN_FILES" in told(images, kind="lab")
    assert "SCAN_FILES" not in told(images, **PRODUCTION)


def test_traces_go_where_the_config_says_or_nowhere(images: Images) -> None:
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in told(images, app={"otlp_endpoint": "http://10.0.0.9:4318"})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in told(images)


@EVERY_WAY
def test_the_api_asks_for_the_certificate_where_there_is_one(changes: dict[str, Any], images: Images) -> None:
    told = compose_of(environment_of(**changes), images)["services"]["api-blue"]["environment"]

    assert ("CERTIFICATE_ADDRESS" in told) == ("url" in changes)
