"""A provisioned host, looked at from another one, by programs that are none of ours. Its firewall: test_firewall.py."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from ppmkit.lab.hosts import ssh_command
from ppmkit.provision import root_login
from tests.lab.test_firewall import ADDRESS
from tests.support.processes import running
from tests.support.site import Site
from tests.support.waiting import eventually


def test_nobody_logs_in_with_a_password(live: Site) -> None:
    by_password = ["-o", "PreferredAuthentications=password,keyboard-interactive", "-o", "PubkeyAuthentication=no"]
    argv = [*ssh_command(live.lab, live.host), "true"]
    done = subprocess.run([argv[0], *by_password, *argv[1:]], capture_output=True, text=True, check=False)

    assert done.returncode == 255
    assert re.search(r"Permission denied \(publickey\)", done.stderr)
    assert "permitrootlogin without-password" in live.root("sshd -T")


def test_sshd_ends_dead_sessions_and_agrees_on_no_weak_mac(live: Site) -> None:
    asked = live.root("sshd -T").splitlines()

    assert {"allowagentforwarding no", "clientaliveinterval 30", "clientalivecountmax 4"} <= set(asked)
    [macs] = [line for line in asked if line.startswith("macs ")]
    assert "hmac-sha2-256" in macs
    assert not re.search(r"sha1|md5|umac-64", macs)


def test_what_was_opened_by_hand_is_shown_and_closed_again(live: Site) -> None:
    live.root(
        "nft delete table inet ppm; echo PasswordAuthentication yes > /etc/ssh/sshd_config.d/10-ppm.conf;"
        "systemctl reload ssh; rm /etc/apt/apt.conf.d/20auto-upgrades /etc/sysctl.d/60-ppm.conf;"
        "rm /etc/systemd/journald.conf.d/10-ppm.conf"
    )
    off = [check["name"] for check in live.json("doctor", status=3) if not check["ok"]]

    report = live.json("provision --check", status=3)["hosts"][0]
    live.ppmctl("provision")

    opened = {operation["name"] for operation in report["operations"] if operation["changed"]}
    files = {"SSH by key only", "Limits of the journal", "Kernel settings", "Security updates"}
    assert opened == {f"Hardening | {name}" for name in files | {"Firewall"}}
    assert files <= set(off)
    assert "passwordauthentication no" in live.root("sshd -T")
    live.ppmctl("provision", "--check")


def test_what_another_file_takes_back_is_shown_and_not_taken_for_done(live: Site) -> None:
    earlier = "/etc/ssh/sshd_config.d/00-cloud.conf"
    live.root(f"echo PasswordAuthentication yes > {earlier}; systemctl disable apt-daily-upgrade.timer")
    try:
        report = live.json("provision --check", status=3)["hosts"][0]
        failed = live.json("provision", status=1)["hosts"][0]
    finally:
        live.root(f"rm {earlier}; systemctl reload ssh")
        live.ppmctl("provision")

    changed = {operation["name"]: operation["detail"] for operation in report["operations"] if operation["changed"]}
    assert set(changed) == {"Hardening | SSH by key only", "Hardening | Security updates"}
    assert "which is not in force" in changed["Hardening | SSH by key only"]
    assert "another file overrides it" in failed["error"]
    assert live.root("systemctl is-enabled apt-daily-upgrade.timer") == "enabled"


def test_who_does_not_log_in_cannot_keep_others_out(live: Site, bare: Site) -> None:
    knocks = f"""
import socket
held = [socket.create_connection(("{live.root(ADDRESS)}", 22), 5) for _ in range(30)]
heard = 0
for one in held:
    one.settimeout(2)
    try:
        heard += one.recv(4) == b"SSH-"
    except OSError:
        pass
print(heard, flush=True)
input()
"""
    argv = [*ssh_command(bare.lab, bare.host), f"python3 -c '{knocks}'"]
    with running(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout
        heard = int(stranger.stdout.readline())
        assert live.root("echo in") == "in"
        stranger.communicate("\n", timeout=30)

    assert 0 < heard <= 10


@pytest.fixture
def closed(bare: Site) -> Iterator[Site]:
    """A site on whose host root may not log in any more; at the end it may again."""
    site = Site("closed", bare.lab, 2, bare.folder)
    site.configure(provision={"root_login": False})
    yield site
    site.configure(provision={"root_login": True})
    site.ppmctl("provision")
    assert root_gets_in(site)


def root_gets_in(site: Site) -> bool:
    argv = [*ssh_command(site.lab, site.host), "true"]
    return subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def test_root_is_locked_out_once_the_user_that_deploys_gets_in_and_may_provision(closed: Site) -> None:
    assert root_gets_in(closed)
    assert "Hardening | Root login" in str(closed.json("provision", "--check", status=3))

    closed.ppmctl("provision")

    assert not root_gets_in(closed)
    again = closed.json("provision")["hosts"][0]
    assert (again["error"], [o["name"] for o in again["operations"] if o["changed"]]) == (None, [])
    assert closed.json("provision", "--check")["hosts"][0]["reached"]


def test_a_lock_out_that_nobody_confirms_is_taken_back_by_the_host_itself(closed: Site) -> None:
    closed.ppmctl("provision")
    with closed.connect() as host:
        host.run(["sudo", "rm", root_login.FILE])
        host.run(["sudo", "systemctl", "reload", "ssh"])
    assert eventually(lambda: root_gets_in(closed), 10)

    with closed.connect() as host:
        root_login.arm(host, 5)

    assert not root_gets_in(closed)
    assert eventually(lambda: root_gets_in(closed), 180)


def test_the_dashboard_comes_by_the_tunnel_and_ends_with_ctrl_c(live: Site, bare: Site) -> None:
    with live.start("status", "--dashboard") as running, httpx.Client(trust_env=False) as browser:
        running.await_words("Ctrl-C closes it")
        url = running.said.split()[0]
        page, routes = (browser.get(httpx.URL(url).join(path)) for path in ("", "/api/http/routers"))
        pressed = time.monotonic()
        assert running.interrupt() == 0
        assert time.monotonic() - pressed < 3, "it waited for the browser, which keeps its connection"

    assert "<title>Traefik" in page.text
    assert "edge@file" in routes.text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    outside = f"curl -sS -m 2 -H 'Host: 127.0.0.1' http://{live.root(ADDRESS)}"
    assert "timed out" in bare.root(f"{outside}:{live.environment.proxy.internal_port}/dashboard/ 2>&1 || true")
    assert "Traefik" not in bare.root(f"{outside}/dashboard/")


def test_what_a_connection_opens_here_is_for_nobody_else_and_goes_with_it(live: Site) -> None:
    with live.connect() as host:
        folder = host.control_socket.parent
        modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir()) if not path.is_file()}

    assert modes == {folder.name: 0o700} | dict.fromkeys(("control", "docker", "internal", "public"), 0o600)
    assert not folder.exists()


def test_a_port_that_the_firewall_keeps_from_users_stops_a_deploy_before_it_begins(live: Site) -> None:
    live.configure(proxy={"http_port": 8080})
    try:
        done = live.ppmctl("deploy", status=1)
    finally:
        live.configure()

    assert "its firewall does not let users through to port 8080" in done.stderr
    assert f"ppmctl provision -e {live.name}" in done.stderr
