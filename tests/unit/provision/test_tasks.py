"""What provisioning decides: daemon.json, keys, packages, how a host is reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.command import FileUploadCommand, StringCommand

from deploy.tasks import connection, swap
from deploy.tasks.command import Script, describe
from deploy.tasks.docker import engine_packages
from deploy.tasks.packages import Installed
from deploy.tasks.ssh import changed_keys, with_keys
from ppmkit.config.environment import Environment
from ppmkit.errors import ProvisionError, UsageError
from ppmkit.paths import PROJECT
from ppmkit.provision import root_login
from ppmkit.provision.daemon_json import WANTED, change
from ppmkit.provision.host_files import firewall, host_files
from ppmkit.provision.report import HostReport, Operation, ProvisionReport
from ppmkit.provision.run import provision
from tests.unit.conftest import environment_of

KEYS = ["ssh-ed25519 AAAA ann@laptop", "ssh-rsa BBBB bob"]
keys = st.lists(st.from_regex(r"ssh-ed25519 [A-Z]{4} [a-z]{1,8}", fullmatch=True), max_size=4)


def test_a_missing_daemon_json_is_written_whole_and_needs_a_restart() -> None:
    needed = change(None)
    assert needed is not None
    assert json.loads(needed.content) == WANTED
    assert needed.restart
    assert "live-restore: not set → true" in needed.differences


@pytest.mark.parametrize("text", ["", "\n", "{}"])
def test_an_empty_daemon_json_is_like_none(text: str) -> None:
    assert change(text) == change(None)


def test_keys_of_daemon_json_that_are_not_ours_stay() -> None:
    needed = change('{"data-root": "/data/docker", "userland-proxy": true}')
    assert needed is not None
    assert json.loads(needed.content) == WANTED | {"data-root": "/data/docker"}


def test_values_of_other_keys_are_not_shown() -> None:
    needed = change('{"proxies": {"http-proxy": "http://user:hush@proxy"}}')
    assert needed is not None
    assert "hush" not in " ".join(needed.differences)


def test_live_restore_alone_needs_no_restart() -> None:
    needed = change(json.dumps(WANTED | {"live-restore": False}))
    assert needed is not None
    assert not needed.restart
    assert needed.differences == ("live-restore: false → true",)


@pytest.mark.parametrize("text", ["{ broken", "[]", "1"])
def test_a_daemon_json_that_is_no_object_is_never_replaced(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        change(text)


@given(st.dictionaries(st.sampled_from([*WANTED, "dns", "mtu"]), st.sampled_from([None, True, False, "journald", {}])))
def test_a_changed_daemon_json_needs_no_second_change(found: dict[str, Any]) -> None:
    needed = change(json.dumps(found))
    assert change(needed.content if needed else json.dumps(found)) is None


def test_keys_that_somebody_added_by_hand_stay() -> None:
    lines = with_keys(["ssh-ed25519 CCCC ci"], "root", KEYS)
    assert lines[0] == "ssh-ed25519 CCCC ci"
    assert lines[2:4] == KEYS


def test_a_key_that_the_source_lost_goes() -> None:
    before = with_keys(["ssh-ed25519 CCCC ci"], "root", KEYS)
    after = with_keys(before, "root", KEYS[:1])
    assert KEYS[1] not in after
    assert changed_keys(before, after) == "- bob"


@given(keys, keys, keys)
def test_writing_the_keys_twice_changes_nothing(own: list[str], first: list[str], second: list[str]) -> None:
    lines = with_keys(with_keys(own, "root", first), "root", second)
    assert with_keys(lines, "root", second) == lines
    assert [line for line in lines if not line.startswith("#")] == own + second


@pytest.mark.parametrize(
    ("name", "major", "packages"),
    [
        ("debian", 12, ("docker.io",)),
        ("debian", 13, ("docker.io", "docker-cli", "docker-compose")),
        ("ubuntu", 24, ("docker.io", "docker-compose-v2")),
    ],
)
def test_each_distribution_gets_its_own_packages(name: str, major: int, packages: tuple[str, ...]) -> None:
    assert engine_packages(name, major) == packages


def test_only_packages_that_dpkg_calls_installed_count() -> None:
    output = ["chrony config-files", "docker.io installed", "curl not-installed"]
    assert Installed().process(output) == {"docker.io"}


def test_a_report_shows_the_summary_of_a_command_and_never_what_it_writes() -> None:
    script = Script("cat > /etc/x", summary="write /etc/x", stdin="hush")
    assert describe(script) == "write /etc/x"
    assert "hush" not in str(script)
    assert describe(FileUploadCommand("here", "/etc/y")) == "write /etc/y"
    assert describe(StringCommand("mkdir", "-p", "/srv")) == "mkdir -p /srv"


def test_pyinfra_gets_strict_host_keys_and_files_below_the_project() -> None:
    environment = environment_of(
        hosts=[{"name": "web-1", "address": "web", "port": 2222}],
        ssh={"identity_file": "keys/id", "known_hosts_file": "keys/known", "connect_timeout": "3s"},
    )
    [(name, data)] = connection.hosts(environment)
    assert name == "web-1"
    assert data["ssh_hostname"] == "web"
    assert data["ssh_port"] == 2222
    assert data["ssh_user"] == "root"
    assert data["ssh_strict_host_key_checking"] == "yes"
    assert data["ssh_key"] == str(PROJECT / "keys/id")
    assert data["ssh_known_hosts_file"] == str(PROJECT / "keys/known")
    assert data["ssh_paramiko_connect_kwargs"]["timeout"] == 3
    assert Environment.model_validate(data["environment"]) == environment


def test_port_user_and_key_are_left_to_the_users_ssh_config_when_the_environment_has_none() -> None:
    [(_, data)] = connection.hosts(environment_of())
    assert {"ssh_port", "ssh_key", "ssh_known_hosts_file"}.isdisjoint(data)


@pytest.mark.parametrize(("user", "sudo"), [("root", False), ("admin", True)])
def test_sudo_is_for_everyone_but_root(user: str, sudo: bool) -> None:
    [(_, data)] = connection.hosts(environment_of(ssh={"provision_user": user}))
    assert data["_sudo"] is sudo


def test_a_report_counts_changes_and_names_failures() -> None:
    done = Operation(name="a", changed=True)
    report = ProvisionReport(
        check=False,
        hosts=(
            HostReport(name="one", reached=True, operations=(done, done, Operation(name="b", changed=False))),
            HostReport(name="two", reached=False, error="no SSH connection"),
        ),
    )
    assert report.changed == 2
    assert [host.name for host in report.failed] == ["two"]


def test_an_environment_without_hosts_cannot_be_provisioned() -> None:
    with pytest.raises(UsageError, match="no host"):
        provision(environment_of(kind="dev", hosts=[]), check=True, announce=print)


def test_a_process_that_cannot_run_is_an_error_with_what_it_said(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/ls")
    said: list[str] = []
    with pytest.raises(ProvisionError, match="status 2") as caught:
        provision(environment, check=True, announce=said.append)
    assert caught.value.seen == "\n".join(said)
    assert said


@pytest.mark.parametrize(("url", "ports"), [("http://x.org", "80"), ("https://x.org", "80, 443")])
def test_the_firewall_lets_in_ssh_and_the_proxy_and_nothing_else(url: str, ports: str) -> None:
    environment = environment_of(url=url, proxy={"letsencrypt_email": "ops@x.org"})

    rules = firewall(environment, [22, 2222])

    assert "policy drop" in rules
    assert "tcp dport { 22, 2222 } accept" in rules
    assert f"tcp dport {{ {ports} }} accept" in rules
    published = f"meta l4proto tcp ct status dnat ct original proto-dst {{ {ports} }} jump clients"
    assert f"{published}\n        ct status dnat drop" in rules
    assert rules.count("accept") == 13


def test_the_firewall_counts_the_connections_of_each_address_but_of_trusted_proxies() -> None:
    networks = ["10.1.0.0/16", "10.0.0.0/8", "fd00::/8", "192.0.2.7"]
    proxy = {"trusted_proxies": networks, "max_requests_per_address": 50}

    lines = firewall(environment_of(proxy=proxy), [22]).partition("chain clients {")[2].split("\n")
    without = firewall(environment_of(), [22]).partition("chain clients {")[2]

    assert [line.strip() for line in lines[1:5]] == [
        "ip saddr { 10.0.0.0/8, 192.0.2.7/32 } accept",
        "add @connected { ip saddr ct count over 100 } reject with tcp reset",
        "ct count over 3072 reject with tcp reset",
        "accept",
    ]
    assert "ip saddr {" not in without
    assert "ct count over 400 " in without


def test_containers_ask_a_cloud_for_names_and_for_nothing_else() -> None:
    lines = [line.strip() for line in firewall(environment_of(), [22]).partition("chain forward")[2].splitlines()]

    names, closed, closed_too = (line for line in lines if "daddr" in line)

    assert names.endswith("meta l4proto { tcp, udp } th dport 53 accept")
    assert closed == names.partition(" meta ")[0] + " drop"
    assert closed_too == "ip6 daddr fd00:ec2::254 drop"
    assert lines.index(closed_too) < lines.index('iifname "br-*" accept')


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """Variables for the script of the swap file, beside tools that only write down what they were asked."""
    for name in ("mkswap", "swapon"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\ncase $1 in --show*) cat {tmp_path}/on;; *) echo "{name} $@" >> {tmp_path}/said;; esac\n'
        )
        (tmp_path / name).chmod(0o755)
    (tmp_path / "on").touch()
    (tmp_path / "fstab").write_text("/dev/vda1 / ext4 defaults 0 1\n")
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "file": f"{tmp_path}/swap", "fstab": f"{tmp_path}/fstab"}


def test_swap_is_a_file_of_root_alone_that_a_boot_finds_again(tools: dict[str, str], tmp_path: Path) -> None:
    run = partial(subprocess.run, ["sh", "-c", swap.MAKE], env={**tools, "bytes": "65536"}, check=True)

    run()
    (tmp_path / "on").write_text(f"{tools['file']}\n")
    run()

    found = (tmp_path / "swap").stat()
    assert (found.st_size, found.st_mode & 0o777) == (65536, 0o600)
    assert (tmp_path / "said").read_text() == f"mkswap {tools['file']}\nswapon {tools['file']}\n"
    assert (tmp_path / "fstab").read_text().splitlines()[1:] == [f"{tools['file']} none swap sw 0 0"]


@pytest.mark.parametrize(("size", "says"), [(1 << 60, "too few for swap"), (65536, "")])
def test_swap_that_cannot_be_leaves_nothing_behind(tools: dict[str, str], tmp_path: Path, size: int, says: str) -> None:
    (tmp_path / "swapon").write_text('#!/bin/sh\ntest "$1" = --show=NAME\n')
    variables = {**tools, "bytes": str(size)}

    done = subprocess.run(["sh", "-c", swap.MAKE], env=variables, check=False, capture_output=True, text=True)

    assert done.returncode
    assert says in done.stderr
    assert not (tmp_path / "swap").exists()
    assert "swap" not in (tmp_path / "fstab").read_text()


def test_an_audit_is_of_those_who_ask_for_it() -> None:
    wanted = [file.name for file in host_files(environment_of(provision={"audit": True}))]

    assert "Audit of changes" in wanted
    assert "Audit of changes" not in [file.name for file in host_files(environment_of())]


def test_where_root_does_not_log_in_the_user_that_deploys_provisions_by_sudo() -> None:
    hosts = [{"name": name, "address": name} for name in ("open", "closed")]

    found = dict(connection.hosts(environment_of(hosts=hosts), without_root=["closed"]))

    assert (found["open"]["ssh_user"], found["open"]["_sudo"]) == ("root", False)
    assert (found["closed"]["ssh_user"], found["closed"]["_sudo"]) == ("deploy", True)


@pytest.mark.parametrize(
    ("changes", "closes", "sudo"),
    [
        ({}, True, True),
        ({"kind": "lab"}, False, False),
        ({"provision": {"root_login": True}}, False, False),
        ({"ssh": {"provision_user": "admin"}}, True, False),
        ({"ssh": {"user": "root"}}, False, False),
    ],
)
def test_root_logs_in_on_labs_only_and_somebody_can_always_provision(
    changes: dict[str, Any], closes: bool, sudo: bool
) -> None:
    environment = environment_of(**changes)

    assert root_login.wanted(environment) is closes
    assert any(file.path == "/etc/sudoers.d/ppm" for file in host_files(environment)) is sudo
