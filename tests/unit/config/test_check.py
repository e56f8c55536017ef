"""What `config check` sees beyond the values: files that are named, and what is most likely not meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.tasks import connection
from ppmkit.config.check import check
from ppmkit.config.file import load, local_path
from ppmkit.errors import ConfigError
from ppmkit.host.ssh import options
from ppmkit.paths import PROJECT
from tests.unit.cli.test_ppmctl import SITE, ppmctl
from tests.unit.conftest import environment_of

SSH_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
PUBLIC_KEY = "ssh-ed25519 AAAA me@here\n"


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PPMCTL_INVENTORY", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    return tmp_path


def warnings(inventory: Path, text: str, name: str = "site") -> list[str]:
    """Return the warnings about a file, each from its line on."""
    (inventory / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [str(warning).partition(f"{name}.yaml:")[2] for warning in check(name)[1]]


def mistakes(inventory: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        warnings(inventory, text)
    assert raised.value.next
    return raised.value.message


def key(folder: Path, name: str, text: str = SSH_KEY, mode: int = 0o600) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(mode)


@pytest.mark.parametrize("name", ["lab", "dev", "production.example"])
def test_the_environments_that_are_shipped_have_no_warnings(name: str) -> None:
    assert check(name)[1] == []


def test_a_file_that_is_named_by_its_home_is_found_by_all_that_read_it(inventory: Path) -> None:
    home = inventory / "home"
    key(home / ".ssh", "id")
    key(home / ".ssh", "known")
    assert warnings(inventory, SITE + "ssh: {identity_file: ~/.ssh/id, known_hosts_file: ~/.ssh/known}\n") == []

    environment = load("site")
    [(_, data)] = connection.hosts(environment)
    argv = options(environment, environment.hosts[0])
    assert (data["ssh_key"], data["ssh_known_hosts_file"]) == (f"{home}/.ssh/id", f"{home}/.ssh/known")
    assert {f'IdentityFile="{home}/.ssh/id"', f'UserKnownHostsFile="{home}/.ssh/known"'} <= set(argv)


def test_what_is_relative_begins_at_the_projects_folder_and_what_is_absolute_stays(inventory: Path) -> None:
    assert local_path("keys/id") == PROJECT / "keys/id"
    assert local_path("/keys/id") == Path("/keys/id")
    assert local_path("~/id") == inventory / "home" / "id"
    with pytest.raises(ConfigError, match="this machine has no such user"):
        local_path("~no-such-user/id")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "/gone does not exist"),
        ("folder", "/folder is not a file"),
        ("id.pub", "/id.pub is a public key; use the private key"),
        ("public", "/public is a public key; use the private key"),
        ("open", "SSH ignores it: chmod 600 "),
    ],
)
def test_a_key_that_ssh_cannot_use_is_named_with_its_line(inventory: Path, name: str, words: str) -> None:
    (inventory / "folder").mkdir()
    key(inventory, "id.pub")
    key(inventory, "public", PUBLIC_KEY)
    key(inventory, "open", mode=0o640)

    said = mistakes(inventory, f"{SITE}ssh:\n  identity_file: {inventory}/{name}\n")

    assert "site.yaml:5:3: ssh.identity_file: " in said
    assert words in said


def test_host_keys_that_are_not_there_are_named_with_their_line(inventory: Path) -> None:
    said = mistakes(inventory, f"{SITE}ssh: {{known_hosts_file: {inventory}/gone}}\n")

    assert "site.yaml:4:7: ssh.known_hosts_file: " in said
    assert "/gone does not exist" in said


def test_what_a_command_makes_need_not_be_there(inventory: Path) -> None:
    ssh = f"ssh: {{identity_file: {inventory}/gone, known_hosts_file: {inventory}/gone}}\n"
    secrets = f"secrets: {{provider: age, directory: {inventory}/gone, identity_file: {inventory}/gone}}\n"

    assert warnings(inventory, "kind: lab\n" + SITE + ssh) == []
    assert warnings(inventory, SITE + secrets) == []


def test_what_is_there_must_be_what_is_needed(inventory: Path) -> None:
    key(inventory, "file", PUBLIC_KEY)
    said = mistakes(inventory, f"{SITE}secrets: {{provider: age, directory: {inventory}/file}}\n")
    assert "secrets.directory: " in said
    assert "/file is not a directory" in said

    said = mistakes(inventory, f"{SITE}secrets: {{provider: age, identity_file: {inventory}/file}}\n")
    assert "secrets.identity_file: " in said
    assert "is a public key" in said


def test_the_key_of_the_backups_is_only_missed(inventory: Path) -> None:
    [said] = warnings(inventory, f"{SITE}backup: {{identity_file: {inventory}/gone}}\n")

    assert said.startswith("4:10: backup.identity_file: ")
    assert "does not exist; `backup verify`, `drill` and `restore` need it" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: {api: {memory: 256, cpus: 1}}\n", "4:18: services.api.memory: 256 has no unit"),
        ("proxy: {max_body: 100}\n", "4:9: proxy.max_body: 100 has no unit"),
        ("provision: {swap: '1'}\n", "4:13: provision.swap: 1 has no unit and is read as 1 bytes; write 1B, or 1MiB"),
        ("backup: {rate: 5_000}\n", "4:10: backup.rate: 5000 has no unit and is read as 5,000 bytes"),
        ("backup: {wal_cap: '1.5'}\n", "4:10: backup.wal_cap: 1.5 has no unit and is read as 1 bytes"),
    ],
)
def test_a_size_without_a_unit_is_warned_of_with_how_it_is_read(inventory: Path, text: str, words: str) -> None:
    [said] = warnings(inventory, SITE + text)
    assert said.startswith(words)


def test_a_size_with_a_unit_and_a_number_that_is_no_size_are_not_warned_of(inventory: Path) -> None:
    text = "services: {api: {memory: 256MiB, cpus: 1, replicas: 2}}\nprovision: {swap: 0}\nbackup: {rate: 5 MB}\n"
    variables = "proxy: {dns_challenge: {provider: x, secrets: {X: dns_x}, variables: {TTL: '120'}}}\n"

    assert warnings(inventory, SITE + text + variables) == []


def test_what_config_show_prints_has_no_warnings(inventory: Path) -> None:
    from ppmkit.config.file import dump

    shown = dump(environment_of(services={"api": {"memory": "1.5GiB", "cpus": 1}}, proxy={"max_body": "100B"}))

    assert "memory: 1536MiB" in shown
    assert "max_body: 100B" in shown
    assert warnings(inventory, shown) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SITE.replace("127.0.0.1", "web-1.example.org"), "3:17: hosts[0].address: web-1.example.org"),
        (SITE.replace("127.0.0.1", "192.0.2.10"), "3:17: hosts[0].address: 192.0.2.10"),
        (SITE.replace("127.0.0.1", "2001:db8::7"), "3:17: hosts[0].address: 2001:db8::7"),
        (SITE.replace("localhost", "ppm.Example.com"), "1:1: url: ppm.Example.com"),
        (SITE + "proxy: {letsencrypt_email: ops@example.org}\n", "4:9: proxy.letsencrypt_email: example.org"),
        (
            SITE + "proxy: {trusted_proxies: [10.0.0.0/8, 203.0.113.0/24]}\n",
            "4:39: proxy.trusted_proxies[1]: 203.0.113.0",
        ),
    ],
)
def test_what_is_reserved_for_examples_is_warned_of_but_in_an_example(inventory: Path, text: str, found: str) -> None:
    assert warnings(inventory, text) == [f"{found} is reserved for examples; write your own"]
    assert warnings(inventory, text, "site.example") == []


@pytest.mark.parametrize(
    "real", ["my-example.org", "example.org.uk.net", "example.community", "192.0.20.1", "x.example"]
)
def test_names_that_only_look_like_the_examples_are_not_warned_of(inventory: Path, real: str) -> None:
    assert warnings(inventory, SITE.replace("127.0.0.1", real)) == []


def test_warnings_go_to_stderr_or_into_the_json_and_the_exit_code_is_0(inventory: Path) -> None:
    (inventory / "site.yaml").write_text(SITE + "provision: {swap: 1}\n", encoding="utf-8")

    done = ppmctl(inventory, "config", "check", "-e", "site")
    assert (done.returncode, done.stdout) == (0, "site: ok, 1 hosts, http://localhost:8101\n")
    assert "warning: " in done.stderr
    assert "site.yaml:4:13: provision.swap: 1 has no unit" in " ".join(done.stderr.split())

    [warning] = json.loads(ppmctl(inventory, "config", "check", "-e", "site", "--json").stdout)["warnings"]
    assert (warning["line"], warning["column"]) == (4, 13)
    assert warning["sentence"].startswith("provision.swap: 1 has no unit")
