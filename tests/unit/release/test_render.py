"""What a host would get, judged by the tools that read it. Its proxy is in test_render_proxy.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ppmkit.actions.up import _versions
from ppmkit.config.environment import Environment
from ppmkit.config.file import load
from ppmkit.orchestrator.stack import ROLES
from ppmkit.release import render, template
from ppmkit.release.model import COLORS, Images
from ppmkit.secrets.kinds import needed
from tests.support.rendered import EVERY_WAY, PRODUCTION, SECRETS, compose_of, release_of
from tests.unit.conftest import environment_of


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


def test_in_development_the_worker_alone_gets_the_key_of_ssh_repositories(tmp_path: Path) -> None:
    known = "git.example.org ssh-ed25519 AAAA"
    app = load("dev").app.model_copy(update={"scan_known_hosts": (known,)})
    file = tmp_path / "compose.yaml"
    file.write_text(render.dev(load("dev").model_copy(update={"app": app}), {"api": "an-image", "node": "another"}))
    accept(file)
    services = YAML(typ="safe").load(file.read_text())["services"]

    assert {name for name, service in services.items() if "secrets" in service} == {"worker"}
    assert services["worker"]["secrets"] == ["git_deploy_key"]
    assert json.loads(services["api"]["environment"]["SCAN_KNOWN_HOSTS"]) == [known]


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
    template._jinja.cache_clear()
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


@pytest.mark.parametrize(
    ("app", "networks"),
    [
        ({}, ["inner"]),
        ({"oauth_client_id": "Iv1.x", "oauth_logins": {"ada": "admin"}}, ["inner", "edge"]),
        ({"otlp_endpoint": "http://collector:4318"}, ["inner", "edge"]),
    ],
)
def test_who_answers_users_has_a_way_out_only_when_it_needs_one(
    images: Images, app: dict[str, Any], networks: list[str]
) -> None:
    compose = compose_of(environment_of(app=app), images)

    assert compose["networks"]["inner"] == {"internal": True}
    found = {name: service["networks"] for name, service in compose["services"].items() if "networks" in service}
    colors = {f"{role}-{color}": found.pop(f"{role}-{color}") for color in COLORS for role in ROLES}
    assert found == {"reverse-proxy": ["edge", "inner"]}
    wanted = {"api": networks, "frontend": ["inner"], "worker": ["outbound"]}
    assert colors == {name: wanted[name.partition("-")[0]] for name in colors}


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


def test_the_frontends_of_both_colors_and_nobody_else_share_the_assets_of_open_pages(
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


@pytest.mark.parametrize("hosts", [[], ["git.example.org ssh-ed25519 AAAA"]])
def test_the_worker_which_handles_what_strangers_wrote_mounts_only_what_it_reads(
    images: Images, hosts: list[str]
) -> None:
    app = {"scan_known_hosts": hosts, "oauth_client_id": "id", "oauth_logins": {"ann": "read"}}
    environment = environment_of(app=app)
    names = [*needed(environment), "session_secret_previous"]
    made = render.release(environment, images, dict.fromkeys(names, "0a1b2c3d"))
    services = YAML(typ="safe").load(render.tree(environment, made)[render.COMPOSE])["services"]

    assert services["worker-blue"]["secrets"] == services["worker-green"]["secrets"] == ["git_deploy_key"] * bool(hosts)
    assert services["api-blue"]["secrets"] == ["session_secret", "oauth_client_secret", "session_secret_previous"]


def test_the_api_counts_clients_behind_trusted_proxies_as_the_proxy_does(images: Images) -> None:
    told = [
        compose_of(environment_of(proxy=proxy), images)["services"]["api-blue"]["environment"].get("TRUSTED_PROXIES")
        for proxy in ({}, {"trusted_proxies": ["192.0.2.0/24", "2001:db8::/32"]})
    ]

    assert told[0] is None
    assert json.loads(told[1]) == ["192.0.2.0/24", "2001:db8::/32"]


def test_the_key_for_repositories_is_mounted_by_the_worker_alone(images: Images) -> None:
    environment = environment_of(app={"scan_known_hosts": ["git.example.org,10.0.0.1 ssh-ed25519 AAAA+/="]})
    made = render.release(environment, images, SECRETS | dict.fromkeys(environment.worker_secrets, "0a1b2c3d"))
    services = YAML(typ="safe").load(render.tree(environment, made)[render.COMPOSE])["services"]

    mounting = {name for name, service in services.items() if "git_deploy_key" in service.get("secrets", ())}
    assert mounting == {"worker-blue", "worker-green"}
    for name in ("api-blue", "worker-blue"):
        told = services[name]["environment"]["SCAN_KNOWN_HOSTS"]
        assert json.loads(told) == ["git.example.org,10.0.0.1 ssh-ed25519 AAAA+/="]


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


def test_who_has_no_secrets_yet_can_read_the_files_and_is_told(tmp_path: Path) -> None:
    said: list[str] = []

    versions = _versions(environment_of(secrets={"directory": str(tmp_path)}), said.append)

    assert versions == {"session_secret": "missing"}
    assert "session_secret is missing" in said[0]
    assert "do not deploy them" in said[0]
