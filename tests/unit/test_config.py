"""What an environment's file may say, and what a user reads when it says something else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deploy.config import Environment
from deploy.configfile import dump, environments, load
from deploy.errors import ConfigError
from tests.unit.conftest import environment_of

BASE = "url: http://localhost:8101\nhosts:\n  - {name: one, address: 127.0.0.1}\n"


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PPMCTL_INVENTORY", str(tmp_path))
    return tmp_path


def read(inventory: Path, text: str) -> Environment:
    (inventory / "test.yaml").write_text(text)
    return load("test")


def error(inventory: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(inventory, text)
    assert raised.value.exit_code == 2
    assert raised.value.next
    return raised.value.message


@pytest.mark.parametrize("name", ["lab", "dev", "production.example"])
def test_the_environments_that_are_shipped_are_valid(name: str) -> None:
    assert load(name).url


def test_an_example_is_no_environment() -> None:
    assert environments() == ["dev", "lab"]


def test_an_unknown_key_is_named_with_line_column_and_the_nearest_known_one(inventory: Path) -> None:
    said = error(inventory, BASE + "app:\n  log_levle: debug\n")

    assert "test.yaml:5:3: unknown key `log_levle` in app; did you mean `log_level`? Allowed:" in said


def test_a_key_of_a_list_is_found_too(inventory: Path) -> None:
    said = error(inventory, "url: http://x\nhosts:\n  - name: one\n    adress: x\n")

    assert "test.yaml:4:5: unknown key `adress` in hosts[0]; did you mean `address`?" in said
    assert "hosts[0] lacks the key `address`" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("app: {scan_interval_minutes: often}\n", "app.scan_interval_minutes: found 'often'; allowed: "),
        ("app: {env: live}\n", "app.env: found 'live'; allowed: 'development', 'test' or 'production'"),
        ("app: [1]\n", "app: found a list"),
        ("proxy: {http_port: 70000}\n", "proxy.http_port: found 70000"),
        ("upgrade: {ready_timeout: 30}\n", "a duration needs a unit: write 30s, 30m or 30h"),
        ("upgrade: {ready_timeout: soon}\n", "not a duration: 'soon'; write a number and a unit"),
        ("services: {api: {memory: lots, cpus: 1}}\n", "services.api.memory: found 'lots'"),
        ("services: {worker: {replicas: 2, memory: 64MiB, cpus: 1}}\n", "services.worker.replicas: found 2"),
        ("images: {source: registry}\n", "`source: registry` needs `registry:`"),
    ],
)
def test_a_wrong_value_says_what_was_found_and_what_is_allowed(inventory: Path, text: str, words: str) -> None:
    assert words in error(inventory, BASE + text)


def test_every_mistake_is_reported_at_once(inventory: Path) -> None:
    assert len(error(inventory, BASE + "app: {env: live, nope: 1}\n").splitlines()) == 2


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(inventory: Path, text: str) -> None:
    assert "an environment is a mapping" in error(inventory, text)


@pytest.mark.parametrize("text", ["url: [\n", "url: a\nurl: b\n", "a: b: c\n", "\tx: 1\n"])
def test_broken_yaml_is_refused_with_its_line(inventory: Path, text: str) -> None:
    assert "test.yaml:" in error(inventory, text)


def test_https_needs_an_address_for_the_authority(inventory: Path) -> None:
    assert "proxy.letsencrypt_email" in error(inventory, BASE.replace("http://", "https://"))


def test_two_hosts_of_one_name_are_refused(inventory: Path) -> None:
    assert "two hosts are called one" in error(inventory, BASE + "  - {name: one, address: x}\n")


def test_an_environment_that_is_not_there_names_the_nearest(inventory: Path) -> None:
    (inventory / "staging.yaml").write_text(BASE)
    with pytest.raises(ConfigError, match="did you mean staging"):
        load("stagin")


def test_what_config_show_prints_is_the_same_environment(inventory: Path) -> None:
    environment = read(inventory, BASE + "upgrade: {ready_timeout: 1.5m}\nservices: {api: {memory: 1GiB, cpus: 2}}\n")

    assert environment.upgrade.ready_timeout == timedelta(seconds=90)
    assert read(inventory, dump(environment)) == environment


@given(st.recursive(st.none() | st.booleans() | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_nothing_but_a_text_is_taken_for_an_address(value: object) -> None:
    with pytest.raises(ValidationError):
        Environment.model_validate({"name": "x", "url": "http://x", "hosts": [{"name": "a", "address": value}]})


def test_a_duration_comes_back_as_it_was_written_even_a_long_one() -> None:
    changes = {"secrets": {"max_age": "400d"}, "upgrade": {"bake": "1.5s"}}
    environment = environment_of(**changes)

    assert type(environment).model_validate_json(environment.model_dump_json()) == environment


def test_a_request_that_waits_in_a_hold_is_not_sent_away_for_being_slow() -> None:
    environment = environment_of(proxy={"client_timeout": "1s"}, upgrade={"hold_limit": "90s"})

    assert environment.client_timeout == timedelta(seconds=105)
    assert environment_of().client_timeout == timedelta(seconds=60)


def test_a_wildcard_needs_a_domain_below_one_that_is_registered(inventory: Path) -> None:
    challenge = "dns_challenge: {provider: cloudflare, secrets: {CF_DNS_API_TOKEN: dns_token}, wildcard: true}"
    text = BASE.replace("http://localhost:8101", "https://example.org")
    text += f"proxy: {{letsencrypt_email: a@b.org, {challenge}}}\n"

    assert "no CA gives a certificate for *.org" in error(inventory, text)
    assert read(inventory, text.replace("example.org", "ppm.example.org")).wildcard == "*.example.org"


def challenge(inventory: Path, told: str) -> str:
    text = BASE.replace("http://localhost:8101", "https://ppm.example.org")
    return error(
        inventory, f"{text}proxy: {{letsencrypt_email: a@b.org, dns_challenge: {{provider: route53, {told}}}}}\n"
    )


def test_secrets_of_a_dns_provider_have_the_names_of_variables_and_of_secrets(inventory: Path) -> None:
    assert "unknown key `token_variable`" in challenge(inventory, "token_variable: X")
    for wrong in ("x: dns_token", "X: session_secret", "X: dns_../../x", "X: dns_"):
        assert "it must match" in challenge(inventory, f"secrets: {{{wrong}}}")
    assert "at least 1 item" in challenge(inventory, "secrets: {}")
    assert "in `secrets` or in `variables`" in challenge(inventory, "secrets: {X: dns_x}, variables: {X_FILE: /x}")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY_FILE"])
def test_what_awss_client_reads_from_no_file_is_refused_with_the_way_that_works(inventory: Path, name: str) -> None:
    said = challenge(inventory, f"secrets: {{{name}: dns_aws}}")
    assert f"does not read {name.removesuffix('_FILE')} from a file: write `AWS_SHARED_CREDENTIALS: dns_aws`" in said

    for file in ("AWS_SHARED_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE"):
        way = {"provider": "route53", "secrets": {file: "dns_aws"}}
        found = environment_of(proxy={"dns_challenge": way}).proxy.dns_challenge
        assert found is not None
        assert found.files == {"AWS_SHARED_CREDENTIALS_FILE": "dns_aws"}
