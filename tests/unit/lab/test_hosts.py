"""A lab's names, ports and Compose file."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from ppmkit.config.environment import Environment
from ppmkit.errors import UsageError
from ppmkit.lab import inventory, ssh_command
from ppmkit.lab.hosts import compose_text
from ppmkit.lab.model import first_ssh_port, wanted


def rendered(cgroup_version: int = 1, hosts: int = 2) -> dict[str, Any]:
    text = compose_text(wanted("demo", hosts, 300), "an/image:1", cgroup_version, "ssh-ed25519 AAAA demo")
    compose: dict[str, Any] = YAML(typ="safe").load(text)
    return compose


def test_names_and_ports_follow_from_the_lab_and_the_number() -> None:
    host = wanted("lab", 3, 0).hosts[2]

    assert (host.name, host.container) == ("lab-3", "ppm-lab-3")
    assert host.ports == (2203, 8003, 8403)
    assert wanted("lab", 1, 0).hosts[0].ssh_port == first_ssh_port()


def test_two_labs_with_offsets_apart_share_no_port() -> None:
    one, other = wanted("lab", 99, 0), wanted("test", 99, 100)

    assert not {port for host in one.hosts for port in host.ports} & {
        port for host in other.hosts for port in host.ports
    }


@pytest.mark.parametrize(("name", "hosts", "offset"), [("Lab", 1, 0), ("../x", 1, 0), ("a", 0, 0), ("a", 1, -1)])
def test_a_lab_that_cannot_be_is_refused(name: str, hosts: int, offset: int) -> None:
    with pytest.raises(UsageError):
        wanted(name, hosts, offset)


def test_the_inventory_of_a_lab_is_accepted_as_an_environment() -> None:
    values = inventory(wanted("test", 2, 100))

    environment = Environment.model_validate({"name": "test", "url": "http://localhost:8101", **values})

    assert [(host.name, host.port) for host in environment.hosts] == [("test-1", 2301), ("test-2", 2302)]
    assert environment.ssh.known_hosts_file == ".ppmctl/test/known_hosts"


def test_every_port_is_published_on_the_loopback_only() -> None:
    published = [port for service in rendered()["services"].values() for port in service["ports"]]

    assert len(published) == 6
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_cgroup_v1_shares_the_machines_hierarchies() -> None:
    host = rendered(cgroup_version=1)["services"]["demo-1"]

    assert host["cgroup"] == "host"
    assert "/sys/fs/cgroup:/sys/fs/cgroup:rw" in host["volumes"]


def test_cgroup_v2_gives_a_namespace_of_its_own() -> None:
    host = rendered(cgroup_version=2)["services"]["demo-1"]

    assert host["cgroup"] == "private"
    assert host["volumes"] == ["/var/lib/docker"]


def test_ssh_trusts_only_what_the_lab_knows() -> None:
    lab = wanted("demo", 1, 300)

    argv = [str(part) for part in ssh_command(lab, lab.hosts[0])]

    assert argv[:3] == ["ssh", "-F", "/dev/null"]
    assert "StrictHostKeyChecking=yes" in argv
    assert f'UserKnownHostsFile="{lab.known_hosts_file}"' in argv
