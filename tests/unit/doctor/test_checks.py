"""What doctor concludes from what it found on a host."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ppmkit.cli import show
from ppmkit.doctor.checks import HERE, Check, examine, judge, version_in
from ppmkit.doctor.readings import Readings
from ppmkit.provision.daemon_json import WANTED
from ppmkit.provision.host_files import host_files
from tests.unit.conftest import environment_of

GIB = 1 << 30
HEALTHY = {
    "groups": ["deploy docker"],
    "engine": ["26.1.5+dfsg1"],
    "daemon": [json.dumps(WANTED)],
    "free": [f"{9 * GIB} /", f"{5 * GIB} /var/lib/docker"],
    "memory": [str(4 << 20)],
    "writable": ["yes"],
    "listening": ["22"],
    "file": [
        f"{f.path} {hashlib.sha256(f.content.encode()).hexdigest()}" for f in host_files(environment_of(kind="lab"))
    ],
    "firewall": ["{ 22 }{ 80, 443 }"],
    "swap": ["1048572"],
    "time": ["yes"],
    "updates": ["yes"],
}


def without(*parts: str) -> dict[str, list[str]]:
    """Return the files of a healthy host but for the one whose path has all these parts."""
    return {"file": [line for line in HEALTHY["file"] if not all(part in line for part in parts)]}


def checks(offset: float = 0.0, *, tls: bool = False, **found: list[str]) -> dict[str, Check]:
    """Return every check of a healthy host on which something else was found."""
    environment = environment_of()
    if tls:
        environment = environment_of(url="https://ppm.example.org", proxy={"letsencrypt_email": "a@example.org"})
    lines = tuple((name, value) for name, values in (HEALTHY | found).items() for value in values)
    facts = Readings(host="web-1", lines=lines, clock_offset=offset, uncertainty=0.1)
    return {check.name: check for check in judge(environment, facts)}


def test_a_healthy_host_has_nothing_to_mend() -> None:
    found = checks()
    assert all(check.ok for check in found.values())
    assert {check.where for check in found.values()} == {"web-1"}


@pytest.mark.parametrize(
    ("name", "found", "shown", "fix"),
    [
        ("user", {"groups": ["deploy"]}, "deploy", "ppmctl provision -e test"),
        ("Docker engine", {"engine": [""]}, "no answer", "ppmctl provision -e test"),
        ("Docker engine", {"engine": ["19.3.1"]}, "19.3.1", "Upgrade Docker on the host"),
        ("daemon.json", {"daemon": []}, "live-restore: not set → true", "ppmctl provision -e test"),
        ("daemon.json", {"daemon": ["{ broken"]}, "line 1", "Fix /etc/docker/daemon.json"),
        ("directory", {"writable": []}, "missing, or not writable", "ppmctl provision -e test"),
        ("disk", {"free": [f"{9 * GIB} /", f"{GIB} /mnt/my disk"]}, "1,024 MiB free on /mnt/my disk", "/mnt/my disk"),
        ("memory", {"memory": [str(512 << 10)]}, "512 MiB available", "lower services.*.memory"),
        ("SSH by key only", without("10-ppm.conf", "ssh"), "missing", "ppmctl provision -e test"),
        ("Limits of the journal", without("journald"), "missing", "ppmctl provision -e test"),
        ("Kernel settings", without("sysctl"), "missing", "ppmctl provision -e test"),
        ("Security updates", without("20auto-upgrades"), "missing", "ppmctl provision -e test"),
        ("Security updates", {"updates": []}, "its timer is off", "ppmctl provision -e test"),
        ("time service", {"time": []}, "not running", "ppmctl provision -e test"),
        ("swap", {"swap": ["0"]}, "0 MiB", "ppmctl provision -e test"),
        ("firewall", {"firewall": []}, "off", "ppmctl provision -e test"),
        ("firewall", {"firewall": ["{ 22 }{ 8080 }"]}, "allows 22, 8080", "ppmctl provision -e test"),
        ("ports", {"listening": ["22", "80"]}, "80 taken", "sport = :80"),
        ("database", {"journal": ["rollback"]}, "rollback", "c.pragma('journal_mode', 'wal')"),
    ],
)
def test_what_is_off_is_shown_with_its_fix(name: str, found: dict[str, Any], shown: str, fix: str) -> None:
    seen = checks(**found)
    assert not seen[name].ok
    assert shown in seen[name].found
    assert fix in seen[name].fix
    assert [check.name for check in seen.values() if not check.ok] == [name]


def test_what_is_the_machines_is_not_asked_of_a_container() -> None:
    found = checks(container=["yes"], swap=["0"], time=[])

    assert all(check.ok for check in found.values())
    assert found["swap"].found == "a container, which uses its machine's kernel"
    assert found["time service"].found == "a container, which uses its machine's clock"


@pytest.mark.parametrize(("running", "ok"), [(["yes"], True), ([], False)])
def test_an_audit_is_looked_at_where_it_is_asked_for(running: list[str], ok: bool) -> None:
    environment = environment_of(provision={"audit": True})
    lines = tuple((name, value) for name, values in (HEALTHY | {"audit": running}).items() for value in values)

    found = {check.name: check for check in judge(environment, Readings("web-1", lines, 0.0, 0.1))}

    assert found["Audit of changes"].ok is ok
    assert "Audit of changes" not in checks()


def test_ports_of_our_own_proxy_are_not_taken() -> None:
    ours = ["0.0.0.0:80->8000/tcp, [::]:80->8000/tcp, 127.0.0.1:8081->8081/tcp"]
    found = checks(listening=["80", "8081"], ours=ours)["ports"]
    assert found.ok
    assert found.found == "80 ours, 8081 ours"


def test_port_443_matters_only_with_tls() -> None:
    assert checks(listening=["443"])["ports"].ok
    assert not checks(listening=["443"], tls=True)["ports"].ok


def test_an_aaaa_record_that_leads_to_the_host_is_to_go() -> None:
    ours, elsewhere = "2001:db8::1", "2001:db8::9"
    assert checks(tls=True, ipv6=[ours], aaaa=[elsewhere])["IPv6 of the domain"].ok
    assert "IPv6 of the domain" not in checks(ipv6=[ours])

    check = checks(tls=True, ipv6=[ours], aaaa=[ours, elsewhere])["IPv6 of the domain"]

    assert not check.ok
    assert check.found == f"ppm.example.org is {ours}, which is this host"
    assert "Remove the AAAA record of ppm.example.org" in check.fix


@pytest.mark.parametrize(("offset", "ok"), [(0.0, True), (-2.05, True), (2.2, False), (-30.0, False)])
def test_a_clock_may_be_off_by_two_seconds_and_what_the_line_makes_uncertain(offset: float, ok: bool) -> None:
    assert checks(offset)["clock"].ok is ok


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Docker version 20.10.24+dfsg1, build 5d6db84", (20, 10, 24)),
        ("github.com/docker/buildx v0.13.1 788433953af1", (0, 13, 1)),
        ("OpenSSH_9.2p1 Debian-2", (9, 2)),
        ("Cannot connect to the Docker daemon", ()),
    ],
)
def test_versions_are_found_in_what_programs_say(text: str, version: tuple[int, ...]) -> None:
    assert version_in(text) == version


def test_how_many_checks_are_off_is_said_last(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(checks(firewall=[], swap=["0"]).values())

    show.doctor(found)

    assert capsys.readouterr().out.splitlines()[-1] == f"{len(found)} checks, 2 failed"


def test_a_file_of_this_machine_that_the_config_names_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("age1public\n", encoding="utf-8")
    environment = environment_of(kind="dev", hosts=[], backup={"identity_file": str(tmp_path / "key")})

    [check] = [check for check in examine(environment) if check.name == "backup.identity_file"]

    assert (check.where, check.ok) == (HERE, False)
    assert "is a public key; use the private key" in check.found
    assert "deploy/inventory/test.yaml" in check.fix
