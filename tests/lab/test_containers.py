"""What runs, as the engine and the kernel tell it: not what the Compose file says."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from ppmkit.paths import PROJECT
from tests.lab.test_firewall import ADDRESS
from tests.support.site import Site

ROLES = {"reverse-proxy", "api", "frontend", "worker", "steward"}


@pytest.fixture(scope="module")
def running(live: Site) -> list[dict[str, Any]]:
    """What `docker inspect` says of every container of the stack that runs."""
    found: list[dict[str, Any]] = json.loads(live.root("docker inspect $(docker ps -qf label=ppm.role)"))
    assert {container["Config"]["Labels"]["ppm.role"] for container in found} == ROLES
    return found


def test_every_container_is_closed(running: list[dict[str, Any]]) -> None:
    for container in running:
        config, limits, name = container["Config"], container["HostConfig"], container["Name"]
        assert config["User"] == "10001:10001", name
        assert limits["ReadonlyRootfs"], name
        assert limits["Init"], name
        assert limits["CapDrop"] == ["ALL"], name
        assert not limits["CapAdd"], name
        assert "no-new-privileges:true" in limits["SecurityOpt"], name
        assert not limits["Privileged"], name
        assert 0 < limits["Memory"] == limits["MemorySwap"], name
        assert min(limits["PidsLimit"], limits["NanoCpus"]) > 0, name
        assert limits["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, name
        assert limits["RestartPolicy"]["Name"] == "unless-stopped", name
        assert config["Healthcheck"]["Test"][0] in ("CMD", "CMD-SHELL"), name
        assert container["State"]["Health"]["Status"] in ("healthy", "starting"), name
        assert container["Image"].startswith("sha256:"), name
        shared = [limits[key] for key in ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "NetworkMode")]
        assert "host" not in shared, name


def test_nothing_of_the_host_is_mounted_but_what_cannot_be_written_and_the_stewards_own(
    live: Site, running: list[dict[str, Any]]
) -> None:
    for container in running:
        role = container["Config"]["Labels"]["ppm.role"]
        for mount in container["Mounts"]:
            if mount["Type"] == "bind":
                own = role == "steward" and mount["Source"] in (f"{live.directory}/backups", f"{live.directory}/facts")
                names = ("secrets/", "traefik/dynamic", "history", "facts", "steward")
                shown = tuple(f"{live.directory}/{name}" for name in names)
                assert own or (mount["Source"].startswith(shown) and not mount["RW"]), mount
        assert "docker.sock" not in json.dumps(container), container["Name"]


def test_the_kernel_gives_no_process_of_them_a_capability_or_a_way_to_one(live: Site) -> None:
    look = """
for container in $(docker ps -qf label=ppm.role); do
  for process in $(docker top $container -eo pid | tail -n +2); do
    awk '/^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):/ {printf "%s ", $2} END {print ""}' /proc/$process/status
  done
done
"""
    found = set(live.root(look).splitlines())

    assert {line.split()[0] for line in found} == {"10001"}
    assert {line.split()[1] for line in found} == {"0000000000000000"}
    assert {line.split()[2] for line in found} == {"0000000000000000"}
    assert {line.split()[3] for line in found} == {"1"}
    assert {line.split()[4] for line in found} == {"2"}, "the filter of system calls is off"


def test_nobody_but_its_owner_changes_what_lies_on_the_host_and_the_journal_is_his_alone(live: Site) -> None:
    live.root(f"cd {live.directory} && chmod 664 lock journal.jsonl secrets/placed && chmod -R g+w releases")
    live.ppmctl("backup create")

    assert live.root(f"find {live.directory} ! -type l -perm /022") == ""
    assert live.root(f"stat -c %a {live.directory}/journal.jsonl") == "600"


def test_no_image_has_a_program_that_changes_who_runs_it(live: Site) -> None:
    look = "for id in $(docker ps -q); do docker exec $id find / -xdev -type f -perm /6000 2>/dev/null; done; true"

    assert live.root(look) == ""


def test_only_the_proxy_publishes_and_its_api_on_the_loopback_only(running: list[dict[str, Any]]) -> None:
    for container in running:
        ports = container["HostConfig"]["PortBindings"] or {}
        role = container["Config"]["Labels"]["ppm.role"]
        assert bool(ports) == (role == "reverse-proxy")
        if ports:
            assert [binding["HostIp"] for binding in ports["8081/tcp"]] == ["127.0.0.1"]


def test_who_answers_users_or_keeps_their_data_has_no_way_out(live: Site, bare: Site) -> None:
    """A server that would answer: the SSH of another host. The steward has no network but its own loopback."""
    address = bare.root(ADDRESS)
    inside = "docker exec $(docker ps -qf label=ppm.role={role} | head -1)"
    reach = f"{inside} curl -sS -m 3 --http0.9 http://{address}:22 2>&1 || true"

    said = {role: live.root(f"{reach.format(role=role)}") for role in ("api", "frontend", "worker")}

    assert "SSH-2.0" in said.pop("worker"), "it fetches repositories"
    for role, words in said.items():
        assert "onnect" in words, (role, words)
        assert "SSH-2.0" not in words, (role, words)
    routes = live.root(f"{inside.format(role='steward')} cat /proc/net/route").splitlines()
    assert len(routes) == 1, routes
    networks = live.root(f"docker network inspect ppm-{live.name}_inner -f '{{{{.Internal}}}}'")
    assert networks == "true"


def test_a_release_says_what_each_image_is_made_of(live: Site) -> None:
    bill = live.json("releases show")["sbom"]

    held = {part["bom-ref"] for part in bill["components"]}
    for image, package in (("api", "pypi/fastapi@"), ("frontend", "npm/react@"), ("steward", "pypi/apsw@")):
        assert [ref for ref in held if ref.startswith(f"{image}/{package}")], package
    assert [ref for ref in held if ref.startswith("traefik/golang/traefik@")]
    said = live.ppmctl("releases show", live.serving()).stdout
    assert f"SBOM: {len(bill['components']):,} components" in said
    assert "no differences" in live.ppmctl("plan").stdout


def test_a_release_without_a_list_is_asked_what_it_is_made_of(live: Site) -> None:
    release = live.serving()
    live.root(f"mv {live.directory}/releases/{release}/sbom.json /root/")
    shutil.rmtree(PROJECT / ".ppmctl" / "sbom")
    try:
        assert "no SBOM: it was not deployed from where it was built" in live.ppmctl("releases show").stdout
        bill = json.loads(live.ppmctl("releases show", "--sbom").stdout)
    finally:
        live.root(f"mv /root/sbom.json {live.directory}/releases/{release}/")

    held = {part["bom-ref"] for part in bill["components"]}
    for start in ("api/pypi/fastapi@", "frontend/deb/", "steward/pypi/apsw@", "traefik/golang/traefik@"):
        assert [ref for ref in held if ref.startswith(start)], start
