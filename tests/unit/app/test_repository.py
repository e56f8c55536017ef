"""Addresses of repositories: which there are, where they lead, and what a server does not fetch from."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from httpx import Client
from pydantic import SecretStr

from app.api.problems import Problem
from app.api.project import refuse_unreachable
from app.repository import fetchable, parse
from app.settings import Settings
from app.worker.address import AddressError, _public, resolve
from app.worker.ssh import Ssh, ready
from tests.unit.app.test_projects import problem

KNOWN = ("git.example.org ssh-ed25519 AAAA",)
SSH = Ssh(Path("/k/key"), Path("/k/known_hosts"))


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("git@git.example.org:team/tool.git", "git.example.org", None, "/team/tool.git"),
        ("git@git.example.org:/team/tool.git", "git.example.org", None, "/team/tool.git"),
        ("ssh://git@git.example.org:2222/team/tool.git", "git.example.org", 2222, "/team/tool.git"),
        ("ssh://git.example.org/~/tool.git", "git.example.org", None, "/~/tool.git"),
    ],
)
def test_an_address_for_ssh_has_two_forms(url: str, host: str, port: int | None, path: str) -> None:
    parts = parse(fetchable(url))

    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("ssh", host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "git@example.org",
            "git@example.org:",
            "example.org:tool",
            "git@-oProxyCommand=x:tool",
            "-x@example.org:tool",
        ),
        *(
            "git@example.org::sh",
            "git@example.org:a b",
            "ssh://git:secret@example.org/tool",
            "ssh://-x@example.org/tool",
        ),
        *("ssh://git@example.org", "ext::sh", "ssh+git://git@example.org/tool", "git@[::1]:tool"),
    ],
)
def test_what_only_looks_like_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|name"):
        fetchable(url)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("HTTP://git.example.org/Tool", "http://git.example.org/Tool"),
        ("Ssh://git@git.example.org/Tool", "ssh://git@git.example.org/Tool"),
        ("git@git.example.org:Team/Tool.git", "git@git.example.org:Team/Tool.git"),
    ],
)
def test_a_scheme_is_kept_in_lower_case_as_git_takes_it(given: str, kept: str) -> None:
    assert fetchable(given) == kept
    assert resolve(given, private=True, ssh=SSH).url == kept


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("172.21.0.3", False),
        ("2606:4700::1111", True),
        ("fd00::1", False),
        ("::1", False),
        ("::", False),
        ("::ffff:172.21.0.3", False),
        ("::172.21.0.3", False),  # IPv4-compatible
        ("::ffff:0:172.21.0.3", False),  # SIIT
        ("64:ff9b::172.21.0.3", False),  # NAT64
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::224.0.0.1", False),
        ("64:ff9b:1::8.8.8.8", False),  # NAT64 of one network's own
        ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", False),
        ("2002:ac15:3::1", False),  # 6to4
        ("2001:0:808:808:0:0:53ea:fffc", False),  # Teredo
        ("2606:4700::5efe:172.21.0.3", False),  # ISATAP
        ("2606:4700::200:5efe:172.21.0.3", False),
        ("2606:4700::5efe:8.8.8.8", True),
        ("fe80::1%eth0", False),
        ("ff0e::1", False),
        ("224.0.0.1", False),
    ],
)
def test_an_address_is_as_public_as_the_one_that_is_written_in_it(address: str, *, public: bool) -> None:
    assert _public(address) is public


@pytest.mark.parametrize("host", ["[64:ff9b::ac15:3]", "[::172.21.0.3]", "[64:ff9b::127.0.0.1]"])
def test_what_leads_to_ipv4_of_the_own_network_is_refused(host: str) -> None:
    with pytest.raises(AddressError, match="is not a public address"):
        resolve(f"http://{host}/x", private=False)


def test_a_project_is_called_after_its_host_and_path(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.projects.refuse_unreachable", lambda *_: None)

    answer = client.post("/api/projects", json={"url": "git@git.example.org:team/tool.git"})

    assert answer.json()["name"] == "git.example.org/team/tool"


def test_where_nobody_set_up_ssh_an_address_for_it_is_refused_in_words(client: Client) -> None:
    body = problem(client.post("/api/projects", json={"url": "git@git.example.org:team/tool.git"}), 422)

    assert "this server does not fetch by SSH" in body["detail"]
    assert body["errors"][0]["field"] == "body.url"


def test_files_and_ssh_are_up_to_the_settings(settings: Settings) -> None:
    ssh = settings.model_copy(update={"scan_known_hosts": KNOWN})
    refuse_unreachable("git@git.example.org:team/tool.git", ssh)
    files = settings.model_copy(update={"scan_files": Path("/cache"), "app_env": "development"})
    refuse_unreachable("file:///cache/tool.git", files)

    for env in ("test", "production"):
        with pytest.raises(Problem, match="for development only"):
            refuse_unreachable("file:///cache/tool.git", files.model_copy(update={"app_env": env}))


def test_ssh_is_told_to_use_one_key_and_to_ask_nobody() -> None:
    address = resolve("git@git.example.org:team/tool.git", private=True, ssh=SSH)

    assert (address.protocol, address.url) == ("ssh", "git@git.example.org:team/tool.git")
    command = next(option for option in address.options if option.startswith("core.sshCommand="))
    for part in ("-F none", "-i /k/key", "BatchMode=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes"):
        assert part in command


@pytest.mark.parametrize(("port", "alias"), [("", "localhost"), (":2222", "[localhost]:2222")])
def test_a_host_that_was_looked_up_keeps_its_name_for_its_key(
    port: str, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.worker.address._public", lambda _: True)

    address = resolve(f"ssh://git@localhost{port}/tool.git", private=False, ssh=SSH)

    assert f"HostKeyAlias={alias}" in address.options[1].replace("'", "")
    assert "HostName=" in address.options[1]


def test_no_proxy_for_https_excuses_ssh_from_being_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ssh_proxy", "http://127.0.0.1:1")

    with pytest.raises(AddressError, match="is not a public address"):
        resolve("git@127.0.0.1:tool.git", private=False, ssh=SSH)


def test_without_a_key_nothing_is_fetched_by_ssh() -> None:
    with pytest.raises(AddressError, match="no deploy key"):
        resolve("git@127.0.0.1:tool.git", private=True)


def test_the_key_is_a_file_for_the_worker_alone_while_it_runs(settings: Settings) -> None:
    given = settings.model_copy(update={"git_deploy_key": SecretStr("-----BEGIN X"), "scan_known_hosts": KNOWN})

    with ready(given) as ssh:
        assert ssh is not None
        assert ssh.key.read_text() == "-----BEGIN X\n"
        assert ssh.known_hosts.read_text() == f"{KNOWN[0]}\n"
        assert stat.S_IMODE(ssh.key.stat().st_mode) == 0o600
        assert stat.S_IMODE(ssh.key.parent.stat().st_mode) == 0o700
    assert not ssh.key.parent.exists()


def test_without_both_a_key_and_a_host_there_is_no_ssh(settings: Settings) -> None:
    with ready(settings.model_copy(update={"scan_known_hosts": KNOWN})) as ssh:
        assert ssh is None
