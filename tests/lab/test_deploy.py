"""What a deploy does when all is well, on a real server: first, again, and an upgrade under load."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import httpx
import pytest

from bench.ledger import load, lost
from bench.site import change_code
from ppmkit.upgrade.steps import STEPS
from tests.support.page import assets
from tests.support.site import ALWAYS, Site
from tests.support.waiting import eventually


def test_a_second_deploy_of_the_same_tree_does_nothing_and_says_so(live: Site) -> None:
    before = live.root("docker ps --no-trunc --format '{{.ID}} {{.Names}}'")

    done = live.ppmctl("deploy")

    assert "nothing to do" in done.stdout
    assert live.root("docker ps --no-trunc --format '{{.ID}} {{.Names}}'") == before
    again = live.json("deploy")
    assert again["changed"] is False
    assert again["bytes_sent"] == 0


def test_users_get_the_page_the_api_and_the_release_that_made_them(live: Site) -> None:
    release = live.serving()
    token = live.user

    for path in ("/", "/api/system", "/api/projects", "/nowhere", "/api/nowhere"):
        answer = httpx.get(f"{live.url}{path}", headers={"Authorization": f"Bearer {token}"})
        assert answer.headers["X-PPM-Release"] == release, path
    assert "<div id=" in httpx.get(live.url).text
    assert httpx.get(f"{live.url}/api/projects").status_code == 401


def test_only_the_proxy_listens_and_its_api_only_on_the_loopback(live: Site) -> None:
    published = live.root("docker ps --format '{{.Names}} {{.Ports}}'").splitlines()
    listening = {line.split()[0]: line for line in published if "->" in line}

    assert set(listening) == {f"ppm-{live.name}-reverse-proxy-1"}
    assert re.search(r"127\.0\.0\.1:8081->8081", listening[f"ppm-{live.name}-reverse-proxy-1"])
    assert httpx.get(f"{live.url}/api/http/routers", headers={"Host": "traefik"}).status_code == 404
    assert httpx.get(f"{live.url}/api/rawdata", headers={"Host": "traefik"}).status_code == 404


def test_what_serves_has_its_full_share_of_the_processor_and_what_can_wait_a_small_one(live: Site) -> None:
    look = "docker inspect $(docker ps -q) --format '{{index .Config.Labels \"ppm.role\"}} {{.HostConfig.CpuShares}}'"
    shares = dict(line.split() for line in live.root(look).splitlines())

    assert shares["reverse-proxy"] == shares["api"] == shares["frontend"] == "8192"
    assert shares["worker"] == shares["steward"] == "512"


def test_the_worker_scans_what_was_added(live: Site) -> None:
    # The load before this test has left thousands of projects, all due for a scan.
    statements = "PRAGMA foreign_keys = ON; DELETE FROM projects"  # with what refers to them, or no backup is whole
    clear = f"from pysqlite3 import dbapi2; dbapi2.connect('/data/ppm.db', 30).executescript('{statements}')"
    live.ppmctl("exec api", "--", "python", "-c", clear)
    headers = {"Authorization": f"Bearer {live.user}"}
    with httpx.Client(base_url=live.url, headers=headers) as client:
        project = client.post("/api/projects", json={"url": "http://localhost:9/nowhere.git"}).json()

        def scanned() -> bool:
            return client.get(f"/api/projects/{project['id']}").json()["scanned_at"] is not None

        assert eventually(scanned, 180)
        assert client.get(f"/api/projects/{project['id']}").json()["scan_error"]


def test_status_releases_logs_and_doctor_say_what_is_there(live: Site) -> None:
    release = live.serving()

    assert "healthy" in live.ppmctl("status").stdout
    listed = live.json("releases")
    assert listed[0]["release"]["id"] == release
    names = [step["name"] for step in listed[0]["steps"]]
    assert names == [step.name for step in STEPS if step.name in names]
    assert set(ALWAYS[:-1]) <= set(names)
    assert release in live.ppmctl("releases").stdout
    assert "reverse-proxy" in live.ppmctl("logs", "--tail", "5").stdout
    assert "worker" in live.ppmctl("logs worker").stdout
    checks = live.json("doctor")
    assert {check["name"]: check["found"] for check in checks}["database"] == "WAL"
    assert all(check["ok"] for check in checks)
    assert live.ppmctl("doctor").stdout.endswith(f"\n{len(checks)} checks, 0 failed\n")


def test_exec_gives_the_exit_code_of_the_command(live: Site) -> None:
    assert live.ppmctl("exec api", "--", "ppm", "version").stdout.startswith("{")
    live.ppmctl("exec api", "--", "sh", "-c", "exit 7", status=7)
    assert "Services:" in live.ppmctl("exec nothing", "--", "true", status=2).stderr


def test_the_journal_holds_every_step_of_the_last_deploy(live: Site) -> None:
    journal = live.root(f"cat {live.directory}/journal.jsonl")

    for step in ALWAYS:
        assert f'"what":"{step}","outcome":"begin"' in journal
    assert '"what":"deploy","outcome":"done"' in journal
    last = next(past for past in live.json("history") if past["outcome"] == "done")
    assert last["kind"] == "deploy"
    assert set(ALWAYS) <= set(last["steps"])


def test_the_page_is_told_of_the_last_deploy_and_of_what_the_steward_knows(live: Site) -> None:
    live.root(f"cd {live.directory}/facts; test -e backups.json || echo '{{}}' > backups.json")

    seen = httpx.get(f"{live.url}/api/system", headers={"Authorization": f"Bearer {live.user}"}).json()

    assert seen.keys() == live.told().keys()
    assert httpx.get(f"{live.url}/api/system").json().keys() == {"release", "login"}
    assert httpx.get(f"{live.url}/statusz").status_code == 404
    last = next(past for past in live.json("history") if past["outcome"] != "unfinished")
    assert seen["deploys"][0].items() <= last.items()
    assert (seen["backups"] is None, seen["certificate"]) == (False, None)


def test_what_lies_on_the_host_is_what_render_writes(live: Site, tmp_path: Path) -> None:
    release = live.serving()

    live.ppmctl("render", "--out", str(tmp_path))

    there = live.root(f"cat {live.directory}/current/compose.yaml")
    assert (tmp_path / "compose.yaml").read_text().strip() == there
    assert live.root(f"readlink {live.directory}/current") == f"releases/{release}"


def starts(site: Site, role: str) -> list[tuple[float, float]]:
    """Return when each container of a role was started, and when it had loaded its code and spoke, in this order."""
    script = """
    for container in $(docker ps -qf label=ppm.role=ROLE); do
      date -d $(docker inspect -f '{{.State.StartedAt}}' $container) +%s.%N
      date -d $(docker logs -t $container 2>&1 | head -1 | cut -d' ' -f1) +%s.%N
    done
    """
    times = [float(time) for time in site.root(script.replace("ROLE", role)).split()]
    return sorted(zip(times[::2], times[1::2], strict=True))


@pytest.mark.timeout(240)
def test_an_upgrade_under_load_loses_no_request_and_no_acknowledged_write(live: Site, checkout: Path) -> None:
    before, token = live.serving(), live.user
    change_code(checkout)
    live.ppmctl("images build", checkout=checkout)

    with load(live.url, token, rate=100, connections=20) as running:
        live.ppmctl("deploy", checkout=checkout)
        report = running.stop()

    assert report.failures == []
    assert report.requests > 500
    assert report.slow
    assert report.events
    assert asyncio.run(lost(live.url, token, report.acknowledged)) == set()
    after = live.serving()
    assert after != before
    assert set(report.releases) == {before, after}
    record = live.json("releases")[0]
    assert record["previous"] == before
    assert record["bytes_sent"] < 500_000, "only the layer with the code is sent, and compressed"
    steps = {step["name"]: step["outcome"] for step in record["steps"]}
    assert steps["schema"] == "none: the live release has the same migrations", "no container was started to ask"
    [(_, first_loaded), (second_started, _)] = starts(live, "api")
    [(worker_started, _)] = starts(live, "worker")
    assert first_loaded < second_started < worker_started, "two loaded their code at once"


@pytest.mark.full
@pytest.mark.timeout(240)
def test_an_open_page_gets_its_assets_until_its_release_is_gone_from_the_host(live: Site, checkout: Path) -> None:
    def served() -> set[str]:
        return set(assets(httpx.get(live.url).text))

    def statuses(paths: set[str]) -> set[int]:
        return {httpx.get(f"{live.url}{path}").status_code for path in paths}

    first = served()
    code = checkout / "app" / "ui" / "src" / "main.tsx"
    code.write_text(f"{code.read_text()}\nconsole.info({time.time_ns()});\n")
    live.ppmctl("deploy", checkout=checkout)
    second = served()
    assert first - second
    assert statuses(first) == {200}, "after an upgrade"

    live.ppmctl("deploy")
    assert served() == first
    assert statuses(second) == {200}, "after the way back"

    live.configure(app={"log_level": "debug"}, upgrade={"keep_releases": 2})
    done = live.json("deploy")
    live.configure()
    assert "older ones removed" in done["steps"][-1]["outcome"]
    assert "assets" not in done["steps"][-1]["outcome"]
    assert statuses(first) == {200}
    assert statuses(second - first) == {404}


@pytest.mark.full
def test_a_volume_for_old_assets_that_cannot_be_written_to_stops_no_deploy(live: Site) -> None:
    volume = live.root(f"docker volume inspect ppm-{live.name}_assets --format '{{{{.Mountpoint}}}}'")
    owner = live.root(f"stat -c %u {volume}")
    live.root(f"chown root {volume}")
    live.configure(app={"log_level": "warning"})
    try:
        done = live.json("deploy")
    finally:
        live.configure()
        live.root(f"chown {owner} {volume}")

    assert live.serving() == done["release"]
    assert "assets of old pages: " in done["steps"][-1]["outcome"]
    assert "Permission denied" in done["steps"][-1]["outcome"]
    assert "are not kept for open pages" in live.ppmctl("logs frontend").stdout


def test_down_leaves_the_data_and_a_deploy_brings_it_back(live: Site) -> None:
    headers = {"Authorization": f"Bearer {live.user}"}
    kept = {"name": "kept", "url": "https://git.example.org/kept.git"}
    assert httpx.post(f"{live.url}/api/projects", json=kept, headers=headers).status_code == 201

    live.ppmctl("down", "--yes")

    assert live.root("docker ps -aq") == ""
    assert "nothing is deployed" in live.ppmctl("status", status=3).stdout
    live.ppmctl("deploy")
    names = httpx.get(f"{live.url}/api/projects", params={"name": "kept"}, headers=headers).json()
    assert names["total"] == 1
