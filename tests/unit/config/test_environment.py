"""What an environment's file may say, and what a user reads when it says something else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ppmkit.config.environment import Environment
from ppmkit.config.file import dump, environments, load
from ppmkit.errors import ConfigError
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
    assert "test.yaml:2:1: hosts: two hosts have the same name: one;" in error(
        inventory, BASE + "  - {name: one, address: x}\n"
    )


@pytest.mark.parametrize(("first", "second"), [("web-1", "WEB-1"), ("web-1", "web-1, port: 22"), ("::1", "::1")])
def test_two_hosts_at_one_address_and_port_are_refused(inventory: Path, first: str, second: str) -> None:
    text = f"url: http://x\nhosts:\n  - {{name: a, address: '{first}'}}\n  - {{name: b, address: {second}}}\n"

    assert "hosts: a and b are the same host: both are " in error(inventory, text)


def test_two_hosts_behind_two_ports_of_one_address_are_fine(inventory: Path) -> None:
    assert len(read(inventory, BASE + "  - {name: two, address: 127.0.0.1, port: 2222}\n").hosts) == 2


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("deploy@web-1", "contains a user; write 'web-1' here, and set `ssh.user: deploy`"),
        ("web-1:2222", "contains a port; write 'web-1' here, and add `port: 2222`"),
        ("ssh://web-1", "is a URL; write only the name or address: 'web-1'"),
        ("https://web-1/", "is a URL; write only the name or address: 'web-1'"),
        ("[::1]", "has brackets; write '::1' here"),
        ("[::1]:2222", "has brackets; write '::1' here, and add `port: 2222`"),
        ("1::2::3", "is not an IPv6 address"),
        ("web 1", "contains ' ', which is not allowed in a host name"),
        ("web\\n1", "contains '\\n', which is not allowed in a host name"),
        ("web-1;reboot", "contains ';', which is not allowed in a host name"),
        ("-oProxyCommand=x", "begins with a hyphen, so SSH would read it as an option"),
        ("", "it is empty; write a DNS name, an IP address or a Host of ~/.ssh/config"),
    ],
)
def test_an_address_that_ssh_cannot_use_says_where_its_parts_belong(inventory: Path, address: str, words: str) -> None:
    said = error(inventory, f'url: http://x\nhosts:\n  - name: one\n    address: "{address}"\n')

    assert "test.yaml:4:5: hosts[0].address: " in said
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "address", ["web-1", "web-1.example.org", "192.0.2.7", "::1", "2001:db8::7", "fe80::1%eth0", "My_Host+jump/2"]
)
def test_names_addresses_and_hosts_of_ones_own_ssh_config_are_addresses(inventory: Path, address: str) -> None:
    assert read(inventory, f"url: http://x\nhosts: [{{name: one, address: '{address}'}}]\n").hosts[0].address == address


@pytest.mark.parametrize(
    ("key", "read_as"),
    [
        ("007", "a number"),
        ("0x1F", "a number"),
        ("1e3", "a number"),
        ("null", "null"),
        ("~", "null"),
        ("true", "true or false"),
        ("2026-11-29", "a date"),
        ("2026-11-29 10:00:00", "a date"),
    ],
)
def test_a_key_that_yaml_takes_for_something_else_must_be_quoted(inventory: Path, key: str, read_as: str) -> None:
    said = error(inventory, f"{BASE}app:\n  oauth_logins:\n    bob: read\n    {key}: admin\n")

    words = f'test.yaml:7:5: app.oauth_logins: YAML reads the key `{key}` as {read_as}; quote it: "{key}"'
    assert said.endswith(words)


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("007: 1\n", "the file"),
        ("app:\n  oauth_organizations: {acme: read, 007: admin}\n", "app.oauth_organizations"),
        ("proxy: {dns_challenge: {provider: x, secrets: {007: dns_x}}}\n", "proxy.dns_challenge.secrets"),
        ("proxy: {dns_challenge: {variables: {007: x}}}\n", "proxy.dns_challenge.variables"),
        ("services: {api: {007: 1}}\n", "services.api"),
        ("backup: {targets: [{007: 1}]}\n", "backup.targets[0]"),
    ],
)
def test_keys_are_as_strict_in_every_mapping(inventory: Path, text: str, location: str) -> None:
    said = error(inventory, BASE + text)

    line = 1 + (BASE + text).partition("007")[0].count("\n")
    column = (BASE + text).splitlines()[line - 1].index("007") + 1
    assert f"test.yaml:{line}:{column}: {location}: YAML reads the key `007` as a number" in said


def test_keys_that_are_quoted_or_are_texts_anyway_are_taken_as_they_are_written(inventory: Path) -> None:
    logins = read(
        inventory, BASE + 'app: {oauth_logins: {"007": admin, \'null\': read, no: read, on: write, "*": read}}\n'
    )

    assert set(logins.app.oauth_logins) == {"007", "null", "no", "on", "*"}


def test_a_key_that_is_merged_from_an_anchor_is_found_too(inventory: Path) -> None:
    said = error(inventory, BASE + "app:\n  oauth_logins: &all {007: admin}\n  oauth_organizations: {<<: *all}\n")

    assert 'test.yaml:5:23: app.oauth_logins: YAML reads the key `007` as a number; quote it: "007"' in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('backup: {at: ["2:30"]}\n', "backup.at[0]: found '2:30'; it must match "),
        ("backup: {at: 02:30}\n", "backup.at: found '02:30'; allowed: a list"),
        ("backup: {at: []}\n", "backup.at: found 0 items; at least 1 item is needed"),
        ("app: []\n", "app: found a list; allowed: a mapping"),
        ("app: {oauth_logins: [alice]}\n", "app.oauth_logins: found a list; allowed: a mapping"),
        ("app: {oauth_client_id: 123}\n", "app.oauth_client_id: found 123; allowed: text"),
        ("app: {oauth_client_id: 2026-11-29}\n", "app.oauth_client_id: found a date; allowed: text"),
        ("app: {oauth_organizations: {a b: read}}\n", "app.oauth_organizations: found the key 'a b'; it must match "),
        ("provision: {swap: [1]}\n", "provision.swap: found a list; allowed: "),
        ("provision: {swap: 1.5}\n", "provision.swap: found 1.5; allowed: a size with its unit, as in 256MiB"),
        ("provision: {audit: perhaps}\n", "provision.audit: found 'perhaps'; allowed: true or false"),
        ("ssh: {user: Deploy}\n", "ssh.user: found 'Deploy'; allowed: lowercase letters, digits and hyphens"),
    ],
)
def test_one_mistake_is_one_sentence_in_the_words_of_yaml(inventory: Path, text: str, words: str) -> None:
    said = error(inventory, BASE + text)

    assert words in said
    assert len(said.splitlines()) == 1
    assert "tuple" not in said.lower()


def test_a_file_that_ends_in_yml_is_pointed_out(inventory: Path) -> None:
    (inventory / "production.yml").write_text(BASE)
    with pytest.raises(ConfigError, match=r"production.yaml does not exist, but production.yml does") as raised:
        load("production")
    assert raised.value.next
    assert raised.value.next.startswith("Rename it: mv ")


@pytest.mark.parametrize(("name", "better"), [("Prod", "prod.yaml"), ("prod_eu", "prod-eu.yaml"), ("1", "Rename the")])
def test_a_file_whose_name_cannot_be_an_environments_must_be_renamed(inventory: Path, name: str, better: str) -> None:
    (inventory / f"{name}.yaml").write_text(BASE)
    with pytest.raises(ConfigError, match=f"`{name}` is not a valid name; allowed: lowercase letters") as raised:
        load(name)
    assert raised.value.next
    assert better in raised.value.next


def test_a_file_that_is_not_utf8_says_so(inventory: Path) -> None:
    (inventory / "test.yaml").write_bytes(BASE.encode() + "# größe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        load("test")


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

    assert "no CA issues a certificate for *.org" in error(inventory, text)
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
    assert "in both `secrets` and `variables`" in challenge(inventory, "secrets: {X: dns_x}, variables: {X_FILE: /x}")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY_FILE"])
def test_what_awss_client_reads_from_no_file_is_refused_with_the_way_that_works(inventory: Path, name: str) -> None:
    said = challenge(inventory, f"secrets: {{{name}: dns_aws}}")
    assert f"does not read {name.removesuffix('_FILE')} from a file: write `AWS_SHARED_CREDENTIALS: dns_aws`" in said

    for file in ("AWS_SHARED_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE"):
        way = {"provider": "route53", "secrets": {file: "dns_aws"}}
        found = environment_of(proxy={"dns_challenge": way}).proxy.dns_challenge
        assert found is not None
        assert found.files == {"AWS_SHARED_CREDENTIALS_FILE": "dns_aws"}
