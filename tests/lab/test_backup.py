"""Backups on a real host, and restores under load."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pyrage
import pytest

from bench.ledger import load
from ppmkit.lab import Lab
from ppmkit.paths import KIT
from tests.lab.test_runbooks import commands, run
from tests.support.keeper import Keeper, keeper
from tests.support.load import losing_nothing
from tests.support.site import Site
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def offsite(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Keeper:
    """The other host of the lab: its sshd takes every backup, too."""
    return keeper(lab.hosts[0], tmp_path_factory.mktemp("offsite"))


@pytest.fixture(scope="module")
def site(lab: Lab, offsite: Keeper, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("keeping")
    key = pyrage.x25519.Identity.generate()
    (folder / "key").write_text(f"# a private key\n{key}\n")
    site = Site("keeping", lab, 2, folder)
    configure(site, str(key.to_public()))
    site.provision()
    secret = folder / "secrets" / "rclone_conf"
    secret.write_text(f"[place]\ntype = local\n{offsite.remote('offsite')}")
    secret.chmod(0o600)
    site.ppmctl("deploy")
    yield site
    site.ppmctl("down", "--purge", "--yes")


def configure(site: Site, *recipients: str) -> None:
    keep = {"last": 2, "daily": 0, "weekly": 0, "monthly": 0}
    key = str(site.folder / "key")
    places = [{"name": "offsite", "to": "offsite:ppm"}, {"name": "elsewhere", "to": "place:/data/elsewhere"}]
    wanted = {"recipients": [*recipients], "identity_file": key, "keep": keep, "targets": places}
    site.configure(backup={**wanted, "continuous": {}})


def names(site: Site, token: str, *wanted: str) -> list[int]:
    """Return how many projects there are of each name."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=site.url, headers=headers) as client:
        return [client.get("/api/projects", params={"name": name}).json()["total"] for name in wanted]


def add(site: Site, token: str, name: str) -> None:
    project = {"name": name, "url": f"https://git.example.org/{name}"}
    made = httpx.post(f"{site.url}/api/projects", json=project, headers={"Authorization": f"Bearer {token}"})
    assert made.status_code == 201, made.text


def volume(site: Site) -> str:
    """Return where the database lies on the host."""
    return site.root("docker volume inspect -f '{{.Mountpoint}}' ppm-keeping_ppm_data")


def test_a_backup_comes_back_under_load_without_a_failed_request(site: Site) -> None:
    token = site.token("keeper")
    add(site, token, "before")
    with losing_nothing(site):
        made = site.json("backup create")
        [drill] = site.json("backup drill", made["id"])
    assert made["verified"]
    assert (drill["id"], drill["outcome"]) == (made["id"], "ok")
    assert "the api answered" in drill["evidence"]
    assert {each["id"]: each["level"] for each in site.json("backup list")}[made["id"]] == "L4"
    add(site, token, "after")

    with load(site.url, token, rate=20, connections=6) as running:
        done = site.json("restore", made["id"], "--yes")
        report = running.stop()

    assert report.failures == []
    assert report.requests > 20
    assert (done["id"], done["outcome"], done["evidence"]) == (made["id"], "ok", "L3")
    assert done["lost"]["projects"] >= 1
    assert 0 < done["held_seconds"] < 30
    assert done["failed"] == ""
    assert site.misnamed() == []
    assert names(site, token, "before", "after") == [1, 0]
    [safety, restored, *_] = site.json("backup list")
    assert (safety["kind"], safety["verified"], restored["id"]) == ("safety", True, made["id"])
    assert [item["kind"] for item in site.json("history")[:1]] == ["restore"]
    assert site.root("docker ps -aq --filter label=com.docker.compose.oneoff=True; ls /srv/ppm/keeping/holds") == ""
    assert site.root(f"ls {volume(site)}/restore/* {volume(site)}/snapshots/* 2> /dev/null || true") == ""

    site.json("restore", safety["id"], "--yes")
    assert names(site, token, "before", "after") == [1, 1]


def shipped(site: Site, token: str) -> str:
    """Return a moment at which all is there that is acknowledged by now, and which was shipped."""
    known = datetime.fromisoformat(site.root("date -u +%FT%T.%6N+00:00"))
    found: list[datetime] = []

    def another() -> bool:
        add(site, token, f"tick-{time.monotonic_ns()}")  # an application that serves is never still
        found[:] = [datetime.fromisoformat(each["last"]) for each in site.json("backup moments")]
        return any(last > known for last in found)

    for _ in range(2):  # the first one may have been begun before
        assert eventually(another, 180)
        known = max(found)
    return known.isoformat()


def test_a_moment_between_two_backups_comes_back_without_a_failed_request(site: Site, tmp_path: Path) -> None:
    token = site.token("wanderer")
    add(site, token, "wanted")
    moment = shipped(site, token)
    add(site, token, "unwanted")
    shipped(site, token)
    refused = site.ppmctl("restore", "--at", "2020-01-01 00:00", "--yes", status=2)
    assert "cannot be restored; available: from " in refused.stderr

    section = [command for command in commands(KIT / "docs/runbooks/restore.md") if "$TIME" in command]
    with load(site.url, token, rate=20, connections=6) as running:
        for command in section:
            done = run(site, tmp_path, command, TIME=moment)
            assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        report = running.stop()

    assert report.failures == []
    assert report.requests > 20
    assert names(site, token, "wanted", "unwanted") == [1, 0]
    assert site.json("backup list")[0]["kind"] == "safety"
    shipped(site, token)  # a generation of its own; what was replaced can still be had
    assert len(site.json("backup moments")) >= 2
    assert site.json("status")["hosts"][0]["backups"]["continuous"]


def test_a_no_changes_nothing_and_a_stranger_with_the_database_open_is_named(site: Site) -> None:
    token = site.token("asker")
    made = site.json("backup create")
    add(site, token, "kept")
    before = site.serving()

    asked = site.ppmctl("restore --latest", status=1)
    assert "rows written since" in asked.stderr
    assert "projects" in asked.stderr
    opened = (
        "docker run -d --name stranger -v ppm-keeping_ppm_data:/data --user 10001 --entrypoint python "
        '$(docker images -q ppm/steward | head -1) -c \'import apsw, time; c = apsw.Connection("/data/ppm.db"); '
        'c.execute("SELECT count(*) FROM projects").fetchall(); time.sleep(600)\''
    )
    site.root(opened)
    try:
        refused = site.ppmctl("restore", made["id"], "--yes", status=1)
    finally:
        site.root("docker rm -f stranger")

    assert "another process has the database open" in refused.stderr
    assert "time.sleep(600)" in refused.stderr
    assert site.serving() == before
    assert names(site, token, "kept") == [1]


def test_what_no_rule_keeps_is_removed_and_damage_is_found(site: Site) -> None:
    for _ in range(2):
        site.ppmctl("backup create")
    plan = site.json("backup prune", "--dry-run")
    assert {verdict["keep"] for verdict in plan} == {True, False}
    site.ppmctl("backup prune")
    listed = site.json("backup list")
    assert [each["id"] for each in listed] == [verdict["id"] for verdict in plan if verdict["keep"]]
    site.root(f"echo x >> /srv/ppm/keeping/backups/{listed[0]['id']}/ppm.db.zst.age")

    found: list[dict[str, Any]] = site.json("backup verify", status=1)

    assert found[-1]["outcome"] == "failed"
    assert site.json("backup list")[0]["verified"] is False
    assert "cannot be restored" in site.ppmctl("restore", listed[0]["id"], "--yes", status=1).stderr


def test_a_database_that_is_damaged_is_restored_too(site: Site) -> None:
    token = site.token("unlucky")
    add(site, token, "survivor")
    site.ppmctl("backup create")
    file = f"{volume(site)}/ppm.db"
    site.root(f"dd if=/dev/urandom of={file} bs=4096 count=3 conv=notrunc; rm -f {file}-wal")

    done = site.json("restore", "--latest", "--yes")

    assert done["lost"] is None
    assert names(site, token, "survivor") == [1]


@pytest.mark.full
def test_a_backup_comes_back_from_the_other_host_when_none_is_left_on_its_own(site: Site, offsite: Keeper) -> None:
    token = site.token("mover")
    add(site, token, "moved")
    made = site.json("backup create")
    assert made["hosts"][0]["targets"] == {"offsite": "ok", "elsewhere": "ok"}
    assert offsite.held()[-1] == made["id"]
    site.root("rm -rf /srv/ppm/keeping/backups/2*")
    assert "there is no verified backup" in site.ppmctl("restore --latest", "--yes", status=1).stderr

    done = site.json("restore", "--latest", "--from", "offsite", "--yes")

    assert done["id"] == made["id"]
    assert names(site, token, "moved") == [1]


def test_a_host_with_another_key_gets_no_backup_and_the_other_target_does(site: Site, offsite: Keeper) -> None:
    before = offsite.held()

    with offsite.with_other_host_keys():
        refused = site.ppmctl("backup create", status=1).stderr

    assert re.search(r": offsite: \S+:22 shows another host key than the secret rclone_conf", refused), refused
    assert offsite.held() == before
    [made] = site.json("backup list")[:1]
    assert made["verified"]
    assert made["id"] in site.root(f"ls {volume(site)}/elsewhere")


@pytest.mark.parametrize(
    ("step", "command", "there"), [pytest.param("start", "abort", 1, marks=pytest.mark.full), ("hold", "resume", 0)]
)
def test_a_restore_that_is_killed_is_finished_or_undone_by_the_next_command(
    site: Site, step: str, command: str, there: int
) -> None:
    token = site.token("killer")
    made = site.json("backup create")
    add(site, token, "later")
    with site.start("restore", made["id"], "--yes") as restore:
        restore.await_words(f"✓ {step}")
        restore.process.kill()
    site.ppmctl(command)
    assert names(site, token, "later") == [there]
    site.serving()
