"""Provisioning real servers: a lab of its own, because it needs hosts on which nothing is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ppmkit import lab as labs
from ppmkit.config.environment import Environment
from ppmkit.config.file import dump
from ppmkit.doctor.checks import examine
from ppmkit.host.host import Host
from ppmkit.lab.hosts import ssh_command
from ppmkit.paths import KIT
from ppmkit.provision.daemon_json import PATH, WANTED
from ppmkit.provision.report import HostReport, ProvisionReport
from ppmkit.provision.run import provision

NAME = "provision-test"
OFFSET = 350
CLOSED_PORT = 9  # discard: nothing on the loopback listens there

# Packages, users and files with their times, of all that provisioning may touch.
SNAPSHOT = """
dpkg-query -W
cat /etc/passwd /etc/group
find /etc /home /opt /root /srv /usr /var/lib/apt /var/lib/dpkg -xdev -printf '%p %y %m %U %G %s %T@\\n' | sort
"""
# An image of one program, made from the host's own files: no registry is needed.
SLEEPER = """
set -e
dir=$(mktemp -d)
programs="/usr/bin/sleep /usr/bin/cat"
cp --parents $programs $(ldd $programs | grep -o '/[^ ]*' | grep -v : | sort -u) "$dir"
tar -C "$dir" -c . | docker import - test/sleeper
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[labs.Lab]:
    """Two hosts, fresh from boot."""
    labs.down(NAME, purge=True)
    yield labs.up(NAME, 2, offset=OFFSET, announce=print)
    labs.down(NAME, purge=True)


def on(servers: labs.Lab, number: int = 1, **ssh: Any) -> Environment:
    """Return an environment of one of the hosts; ``ssh`` are keys of its section."""
    values = labs.inventory(servers)
    return Environment.model_validate(
        {
            "name": "test",
            "kind": "lab",
            "url": "http://localhost:8400",
            "hosts": [values["hosts"][number - 1]],
            "ssh": values["ssh"] | ssh,
        }
    )


def with_closed_port(environment: Environment) -> Environment:
    """Return the environment with a second host, which nobody reaches."""
    dead = environment.hosts[0].model_copy(update={"name": "dead", "port": CLOSED_PORT})
    return environment.model_copy(update={"hosts": (*environment.hosts, dead)})


def root(servers: labs.Lab, script: str, number: int = 1) -> str:
    """Run a script on a host as root; return what it printed."""
    command = [*ssh_command(servers, servers.hosts[number - 1]), script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(environment: Environment, *, check: bool = False) -> ProvisionReport:
    """Provision, or look; what is said meanwhile is shown when a test fails."""
    return provision(environment, check=check, announce=print)


def changes(host: HostReport) -> dict[str, str]:
    """Return what was changed on a host, by the operation's name."""
    return {operation.name: operation.detail for operation in host.operations if operation.changed}


@pytest.fixture(scope="module")
def fresh(servers: labs.Lab) -> ProvisionReport:
    """The report of provisioning the first host, on which nothing was."""
    return run(on(servers))


@pytest.fixture
def environment(servers: labs.Lab, fresh: ProvisionReport) -> Environment:
    """The environment of the first host, which is provisioned."""
    assert not fresh.failed, fresh.failed
    return on(servers)


def test_check_of_a_fresh_host_names_everything_and_changes_nothing(servers: labs.Lab) -> None:
    before = root(servers, SNAPSHOT, number=2)
    report = run(on(servers, number=2), check=True)
    assert root(servers, SNAPSHOT, number=2) == before
    assert not report.failed
    would = changes(report.hosts[0])
    assert "useradd" in would["SSH | User deploy"]
    assert would["Docker | Docker engine and Compose"] == "apt-get install docker.io docker-cli docker-compose"
    assert "live-restore: not set → true" in would["Docker | Docker settings"]
    assert "ppm | Directory /srv/ppm/test/secrets" in would


def test_a_distribution_that_is_not_known_is_refused_by_name(servers: labs.Lab) -> None:
    root(servers, "cp --remove-destination /usr/lib/os-release /etc/os-release", number=2)
    root(servers, "sed -i 's/^ID=.*/ID=gentle/; s/^PRETTY_NAME=.*/PRETTY_NAME=GentleOS/' /etc/os-release", number=2)
    try:
        report = run(on(servers, number=2))
    finally:
        root(servers, "ln -sf ../usr/lib/os-release /etc/os-release", number=2)
    assert report.hosts[0].reached
    assert report.hosts[0].error is not None
    assert "GentleOS is not supported" in report.hosts[0].error
    assert report.changed == 0


def test_a_fresh_host_can_be_deployed_to(environment: Environment, fresh: ProvisionReport) -> None:
    assert fresh.changed
    with Host.connect(environment, environment.hosts[0]) as host:
        assert "docker" in host.run(["id", "-nG"]).stdout.split()
        info = json.loads(host.run(["docker", "info", "--format", "{{json .}}"]).stdout)
        assert info["LiveRestoreEnabled"]
        assert info["LoggingDriver"] == "json-file"
        assert host.run(["docker", "compose", "version"]).stdout
        assert host.run(["systemctl", "is-enabled", "docker"]).stdout == "enabled\n"
        host.write(environment.directory / "releases" / "x", "written")
        modes = host.run(["stat", "-c", "%a %U", *(f"{environment.directory}/{d}" for d in ("", "secrets", "backups"))])
        assert modes.stdout.splitlines() == ["755 deploy", "700 deploy", "700 root"]  # the steward takes it over


def test_containers_read_their_secrets_and_routes_and_nobody_else_the_secrets(
    environment: Environment, servers: labs.Lab
) -> None:
    root(servers, SLEEPER)
    secret, route = environment.directory / "secrets" / "x", environment.directory / "traefik" / "dynamic" / "x"
    with Host.connect(environment, environment.hosts[0]) as host:
        host.write(secret, "hush")
        root(servers, f"chown 10001:10001 {secret}; chmod 400 {secret}")
        host.write(route, "routes")
        mounts = ["-v", f"{secret}:/run/secrets/x:ro", "-v", f"{route.parent}:/dynamic:ro"]
        limits = ["--rm", "--user", "10001:10001", "--cap-drop", "ALL", "--network", "none"]
        argv = ["docker", "run", *limits, *mounts, "test/sleeper", "/usr/bin/cat", "/run/secrets/x", "/dynamic/x"]
        assert host.run(argv).stdout == "hushroutes"
    assert root(servers, f"runuser -u nobody -- cat {route}") == "routes"
    assert root(servers, f"runuser -u nobody -- cat {secret} 2>&1 || true").endswith("Permission denied\n")


def test_the_second_run_changes_nothing(environment: Environment, servers: labs.Lab) -> None:
    before = root(servers, SNAPSHOT)
    report = run(environment)
    assert report.changed == 0
    assert not report.failed
    assert len(report.hosts[0].operations) > 10
    assert root(servers, SNAPSHOT) == before


def test_a_host_that_cannot_be_reached_is_named_and_the_others_are_done(
    environment: Environment, servers: labs.Lab
) -> None:
    routes = environment.directory / "traefik" / "dynamic"
    root(servers, f"rm -r {routes}")
    report = run(with_closed_port(environment))
    done, dead = report.hosts
    assert (done.error, list(changes(done))) == (None, [f"ppm | Directory {routes}"])
    assert root(servers, f"stat -c %U {routes}") == "deploy\n"
    assert (dead.name, dead.reached, dead.operations) == ("dead", False, ())
    assert dead.error == f"no SSH connection: Unable to connect to port {CLOSED_PORT} on 127.0.0.1"
    assert report.failed == (dead,)


@pytest.mark.parametrize("known", ["another key", "no key"])
def test_a_host_key_that_is_not_known_is_refused(servers: labs.Lab, tmp_path: Path, known: str) -> None:
    known_hosts = tmp_path / "known_hosts"
    public = servers.identity_file.with_suffix(".pub").read_text().split()
    line = f"[127.0.0.1]:{servers.hosts[0].ssh_port} {public[0]} {public[1]}\n"
    known_hosts.write_text(line if known == "another key" else "")
    [host] = run(on(servers, known_hosts_file=str(known_hosts))).hosts
    assert not host.reached
    assert host.error is not None
    assert "not the one in known_hosts; nothing was sent to it" in host.error
    assert known_hosts.read_text() == (line if known == "another key" else "")


def test_a_missing_key_file_is_named(servers: labs.Lab) -> None:
    [host] = run(on(servers, identity_file="no/such/key")).hosts
    assert not host.reached
    assert host.error is not None
    assert "no/such/key" in host.error


def test_a_daemon_json_that_was_edited_is_reported_by_check_and_mended_while_containers_run(
    environment: Environment, servers: labs.Lab
) -> None:
    root(servers, SLEEPER)
    edited = json.dumps(WANTED | {"live-restore": False, "log-driver": "local", "debug": True})
    root(servers, f"echo '{edited}' > {PATH}; systemctl restart docker")
    root(servers, "docker run -d --name survivor --network none test/sleeper /usr/bin/sleep 600")
    born = root(servers, "docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' survivor")
    try:
        looked = changes(run(environment, check=True).hosts[0])
        assert list(looked) == ["Docker | Docker settings"]
        assert "live-restore: false → true" in looked["Docker | Docker settings"]
        assert json.loads(root(servers, f"cat {PATH}"))["log-driver"] == "local"

        assert changes(run(environment).hosts[0]) == looked
        assert json.loads(root(servers, f"cat {PATH}")) == WANTED | {"debug": True}
        assert root(servers, "docker info -f '{{.LiveRestoreEnabled}} {{.LoggingDriver}}'") == "true json-file\n"
        assert root(servers, "docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' survivor") == born
    finally:
        root(servers, "docker rm -f survivor")
    assert run(environment).changed == 0


@pytest.mark.parametrize(
    ("text", "reason"), [('{"no-such-key": 1}', "no-such-key"), ("{ broken", f"{PATH} cannot be read")]
)
def test_a_daemon_json_that_docker_would_refuse_never_goes_live(
    environment: Environment, servers: labs.Lab, text: str, reason: str
) -> None:
    good = root(servers, f"cat {PATH}")
    root(servers, f"echo '{text}' > {PATH}")
    try:
        [host] = run(environment).hosts
        assert root(servers, f"cat {PATH}") == f"{text}\n"
        assert root(servers, "ls -A /etc/docker | grep -v -x -e daemon.json -e key.json || true") == ""
    finally:
        root(servers, f"echo '{good}' > {PATH}")
    assert host.error is not None
    assert reason in host.error
    assert not host.operations[-1].ok
    assert root(servers, "docker info -f '{{.LiveRestoreEnabled}}'") == "true\n"


def test_a_user_with_sudo_can_provision_and_one_without_is_told(environment: Environment, servers: labs.Lab) -> None:
    root(servers, "useradd -m -s /bin/bash admin && cp -r /root/.ssh /home/admin/ && chown -R admin: /home/admin/.ssh")
    admin = on(servers, provision_user="admin")
    [refused] = run(admin).hosts
    assert refused.error == "admin may not use sudo without a password; provisioning needs root"
    root(
        servers,
        f"echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin; rm -r {environment.directory}/traefik/dynamic",
    )
    [done] = run(admin).hosts
    assert done.error is None
    assert list(changes(done)) == ["SSH | Keys of deploy", f"ppm | Directory {environment.directory}/traefik/dynamic"]
    assert run(admin).changed == 0


@pytest.mark.parametrize(
    ("user", "lacks"),
    [("homeless", "--no-create-home --shell /bin/bash"), ("mute", "--create-home --shell /bin/false")],
)
def test_a_user_that_cannot_deploy_yet_is_made_one_that_can(
    environment: Environment, servers: labs.Lab, user: str, lacks: str
) -> None:
    root(servers, f"useradd {lacks} --groups users {user}")
    half = on(servers, user=user)
    [done] = run(half).hosts
    assert done.error is None
    assert list(changes(done))[:2] == [f"SSH | User {user}", f"SSH | Keys of {user}"]
    with Host.connect(half, half.hosts[0]) as host:
        assert host.run(["id", "-Gn"]).stdout.split() == [user, "users", "docker"]
    assert run(half).changed == 0
    run(environment)


def test_the_inventory_and_the_tasks_work_with_plain_pyinfra(
    environment: Environment, servers: labs.Lab, tmp_path: Path
) -> None:
    (tmp_path / "test.yaml").write_text(dump(environment))
    root(servers, f"rm -r {environment.directory}/traefik/dynamic")
    done = subprocess.run(
        [sys.executable, "-m", "pyinfra", "-y", "deploy/inventory/inventory.py", "deploy/tasks/provision.py"],
        check=False,
        cwd=KIT,
        env=os.environ | {"PPMCTL_ENV": "test", "PPMCTL_INVENTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert root(servers, f"stat -c %U {environment.directory}/traefik/dynamic") == "deploy\n"
    assert run(environment).changed == 0


def test_doctor_finds_nothing_on_a_provisioned_host_and_names_what_it_cannot_reach(environment: Environment) -> None:
    found = examine(with_closed_port(environment))
    assert [check for check in found if check.where == environment.hosts[0].name and not check.ok] == []
    [dead] = [check for check in found if check.where == "dead"]
    assert not dead.ok
    assert "Connection refused" in dead.found
    assert {"Docker engine", "Compose", "buildx", "SSH client", "git"} <= {check.name for check in found}


def test_doctor_sends_those_who_cannot_log_in_to_provision(servers: labs.Lab) -> None:
    [login] = [check for check in examine(on(servers, number=2)) if check.name == "SSH"]
    assert not login.ok
    assert login.fix == "ppmctl provision -e test"
