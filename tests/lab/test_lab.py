"""Throwaway hosts: they boot, last over a restart, and go without a trace. A lab of its own, for it breaks things."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from ppmkit import lab as labs
from ppmkit.errors import EngineError, UsageError
from ppmkit.lab.model import directory
from ppmkit.local.engine import local_docker
from tests.support.waiting import eventually

NAME, OFFSET = "lab-test", 450


@pytest.fixture(scope="module")
def hosts() -> Iterator[labs.Lab]:
    labs.down(NAME, purge=True)
    yield labs.up(NAME, 2, offset=OFFSET, announce=print)
    labs.down(NAME, purge=True)


def run(lab: labs.Lab, script: str, number: int = 1) -> str:
    """Run a script as root on a host, over SSH; return what it prints."""
    argv = [*labs.ssh_command(lab, lab.hosts[number - 1]), script]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def test_a_host_is_a_whole_server(hosts: labs.Lab) -> None:
    assert eventually(lambda: run(hosts, "systemctl is-system-running || true") == "running")
    assert run(hosts, "hostname") == f"{NAME}-1"
    assert run(hosts, "command -v docker || echo none") == "none"


def test_each_host_has_keys_of_its_own(hosts: labs.Lab) -> None:
    keys = [run(hosts, "cat /etc/ssh/ssh_host_ed25519_key.pub", number) for number in (1, 2)]

    assert keys[0] != keys[1]


def test_hosts_reach_each_other_by_name(hosts: labs.Lab) -> None:
    assert run(hosts, f"getent hosts {NAME}-2")


def test_up_of_a_running_lab_says_and_changes_nothing(hosts: labs.Lab) -> None:
    said: list[str] = []

    assert labs.up(NAME, announce=said.append) == hosts
    assert said == []


def test_what_is_on_a_host_and_its_key_outlast_a_restart(hosts: labs.Lab) -> None:
    run(hosts, "mkdir -p /srv/ppm && echo kept > /srv/ppm/file && echo kept > /var/lib/docker/file")

    local_docker().container.restart(hosts.hosts[0].container)

    assert labs.up(NAME, announce=print) == hosts
    assert run(hosts, "cat /srv/ppm/file /var/lib/docker/file") == "kept\nkept"


def test_a_stopped_host_is_started_again(hosts: labs.Lab) -> None:
    local_docker().container.stop(hosts.hosts[1].container)
    assert [host.state for host in labs.status(NAME)] == ["running", "exited"]

    assert labs.up(NAME, announce=print) == hosts


def test_other_ports_for_hosts_that_exist_are_refused(hosts: labs.Lab) -> None:
    with pytest.raises(UsageError) as raised:
        labs.up(NAME, offset=OFFSET + 20, announce=print)

    assert f"lab down --name {NAME}" in (raised.value.next or "")
    assert labs.status(NAME) == list(hosts.hosts)


def test_a_taken_port_is_named() -> None:
    taken = 2200 + 550 + 1
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        with pytest.raises(EngineError, match=str(taken)) as raised:
            labs.up("taken-test", 1, offset=550, announce=print)
    labs.down("taken-test", purge=True)

    assert "--offset" in (raised.value.next or "")


def test_a_login_on_a_host_that_is_not_there_names_those_that_are(hosts: labs.Lab) -> None:  # noqa: ARG001
    with pytest.raises(UsageError, match=f"{NAME}-1, {NAME}-2"):
        labs.ssh(NAME, "web-9")
    with pytest.raises(UsageError, match="no lab 'nowhere'"):
        labs.ssh("nowhere")


def test_down_leaves_no_container_volume_network_or_state() -> None:
    docker = local_docker()
    lab = labs.up("gone-test", 1, offset=650, announce=print)
    volume = next(mount.name for mount in docker.container.inspect(lab.hosts[0].container).mounts if mount.name)

    labs.down("gone-test", purge=True)

    assert not docker.container.exists(lab.hosts[0].container)
    assert not docker.volume.exists(volume)
    assert not docker.network.exists(f"{lab.project}_default")
    assert not directory("gone-test").exists()
