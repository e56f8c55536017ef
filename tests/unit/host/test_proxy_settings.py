"""The settings that a proxy was made with, recorded and read again beside another YAML."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ppmkit.config.environment import Environment
from ppmkit.host import proxy_settings
from ppmkit.host.proxy_settings import applied, derived, public_port, recorded
from ppmkit.release import render
from ppmkit.release.model import Images
from tests.support.rendered import EVERY_WAY, OWN, PRODUCTION, compose_of, release_of
from tests.unit.conftest import environment_of

SERVERS = {"blue": {"api": ["http://a:1"], "frontend": ["http://b:1"]}}
TODAY = environment_of(url="http://other.example.org", proxy={"http_port": 8080}, app={"rate_limit_per_minute": 7})


def routes(environment: Environment) -> str:
    return render.routes(environment, live="blue", preview="blue", servers=SERVERS)  # type: ignore[arg-type]


@EVERY_WAY
def test_what_was_recorded_renders_the_same_routes_beside_any_other_yaml(changes: dict[str, Any]) -> None:
    environment = environment_of(**changes, upgrade={"hold_limit": "99s"})

    found = applied(TODAY, recorded(environment))

    assert found is not None
    assert routes(found) == routes(environment) != routes(TODAY)
    assert public_port(found) == public_port(environment)
    assert (found.hosts, found.ssh, found.directory) == (TODAY.hosts, TODAY.ssh, TODAY.directory)


def test_how_hosts_are_reached_and_where_secrets_are_is_not_recorded() -> None:
    document = json.loads(recorded(environment_of(**OWN, ssh={"identity_file": "my/key"})))

    assert not {"hosts", "ssh", "secrets"} & document.keys()
    assert "my/key" not in json.dumps(document)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"app": {"key_of_tomorrow": 1}}', '{"url": "https://*.x"}'])
def test_what_another_version_recorded_is_not_guessed_at(text: str) -> None:
    assert applied(TODAY, text) is None


@pytest.mark.parametrize("changes", [{}, PRODUCTION, OWN], ids=["http", "https", "own certificate"])
def test_a_release_of_before_tells_its_url_ports_and_certificates_by_its_compose_file(
    changes: dict[str, Any], images: Images
) -> None:
    ports = {"http_port": 81, "https_port": 444, "internal_port": 9999}
    environment = environment_of(**(changes | {"proxy": changes.get("proxy", {}) | ports}))

    found = derived(TODAY, render.compose(environment, release_of(environment, images)))

    assert (found.url, found.tls, found.acme) == (environment.url, environment.tls, environment.acme)
    assert public_port(found) == public_port(environment)
    assert found.proxy.internal_port == 9999
    assert found.app == TODAY.app
    assert compose_of(environment, images)["services"]["reverse-proxy"]["ports"][0] == "81:8000"


@pytest.mark.parametrize("text", ["", "[", "services: {}", "services: {reverse-proxy: {ports: [x], command: []}}"])
def test_a_compose_file_that_tells_nothing_leaves_todays_yaml(text: str) -> None:
    assert derived(TODAY, text) == TODAY


def test_the_settings_are_no_part_of_what_a_releases_id_is_the_digest_of(images: Images) -> None:
    environment = environment_of()

    assert proxy_settings.FILE not in render.tree(environment, release_of(environment, images))
