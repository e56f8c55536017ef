"""A site that an earlier version of ppmctl deployed: today's takes over, whatever the earlier one left unfinished.

An earlier ppmctl does not have to understand what today's leaves on a host. So each test begins with a site that only
the earlier code has changed.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.ledger import Report, load, lost
from ppmkit import __version__
from ppmkit.lab import Lab
from tests.conftest import named
from tests.lab.test_backup import add, names
from tests.lab.test_matrix import Case, go_on, kill, strike
from tests.support import earlier
from tests.support.revisions import ADD, DROP, newest, revise
from tests.support.site import Site

pytestmark = pytest.mark.timeout(600)  # where nothing is built yet, there are the images of two versions to build
RATE = 15
"""Requests a second."""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier code."""
    return earlier.unpack(tmp_path_factory.mktemp("earlier") / "checkout")


@pytest.fixture(scope="module")
def provisioned(lab: Lab, code: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A host as the earlier code provisions it; afterwards as today's does."""
    site = Site(named("existing"), lab, 2, tmp_path_factory.mktemp("existing"))
    site.ppmctl("provision", checkout=code)
    site.ppmctl("secrets init", checkout=code)
    site.ppmctl("images build", checkout=code)
    yield site
    site.ppmctl("provision")


@pytest.fixture
def site(provisioned: Site, code: Path) -> Iterator[Site]:
    """A site that only the earlier code has seen."""
    site = Site(provisioned.name, provisioned.lab, provisioned.number, provisioned.folder)
    try:
        site.ppmctl("deploy", checkout=code)
        yield site
    finally:
        site.ppmctl("down", "--purge", "--yes")
        site.root(f"find {site.directory} -mindepth 1 ! -type d -delete; find {site.directory} -mindepth 2 -delete")


def by(code: Path, site: Site, command: str, *argv: str) -> Any:
    """Run a command of the earlier code with --json; return the document."""
    return json.loads(site.ppmctl(command, *argv, "--json", checkout=code).stdout)


def cut_short(site: Site, code: Path, behind: str, command: str = "deploy", *argv: str) -> None:
    """Kill a command of the earlier code after a step."""
    with site.start(command, *argv, checkout=code) as running:
        strike(site, Case(kill, behind, "-"), running)
    assert "did not end; run: ppmctl resume" in "\n".join(site.json("status", status=3)["problems"])


def record(site: Site, release: str) -> dict[str, Any]:
    """Return the record of a release, and the settings of backups that it was deployed with."""
    text = site.root(f"cd {site.directory}/releases/{release}; cat release.json; echo; cat steward.json")
    decoder = json.JSONDecoder()
    found, end = decoder.raw_decode(text)
    return {**found, "settings": text[end:].strip()}


def proxy(site: Site) -> str:
    return site.root("docker ps -q --no-trunc --filter label=ppm.role=reverse-proxy")


def check(report: Report, *, seconds: float) -> None:
    """Check that no request failed, but for those that came while the proxy was replaced, which took so many seconds.

    They find no listener, or a proxy that has not read its routes yet.
    """
    assert report.requests > 20
    if not seconds:
        assert report.failures == []
        return
    statuses = [found[1] for failure in report.failures if (found := re.search(r" /\S+: (\d{3})\b", failure))]
    assert set(statuses) <= {"404"}, report.failures
    answered = sum(count for release, count in report.releases.items() if release != "none")
    assert report.requests - answered <= RATE * (seconds + 2), report.failures


def test_todays_code_takes_over_a_site_and_loses_nothing_of_it(site: Site, code: Path) -> None:
    before, token = site.serving(), site.user
    add(site, token, "before")
    backup = by(code, site, "backup create")["id"]
    site.configure(app={"scan_interval_minutes": 7})
    cut_short(site, code, "worker")

    go_on(site, "abort")
    assert site.serving() == before
    assert json.loads(site.root(f"cat {site.directory}/version.json")) == {"version": __version__}
    [plan] = site.json("plan", status=3)["hosts"]
    was = proxy(site)
    with load(site.url, token, rate=RATE, connections=6) as running:
        deployed = site.json("deploy")
        report = running.stop()

    after, steps = deployed["release"], {step["name"]: step["seconds"] for step in deployed["steps"]}
    assert site.healthy() == after
    check(report, seconds=steps["proxy"] if proxy(site) != was else 0)
    assert asyncio.run(lost(site.url, token, report.acknowledged)) == set()
    assert_told_what_changed(plan, record(site, before), record(site, after))
    [left] = site.json("plan", status=3)["hosts"]
    assert [section["name"] for section in left["sections"]] == ["host settings"], "of the earlier `ppmctl provision`"
    site.ppmctl("provision")
    assert "no differences" in site.ppmctl("plan").stdout

    add(site, token, "after")
    assert {each["id"]: each["verified"] for each in site.json("backup list")}[backup]
    site.json("restore", backup, "--yes")
    assert names(site, token, "before", "after") == [1, 0]

    assert [(host["release"], host["data"]) for host in site.json("rollback")] == [(before, "untouched")]
    assert site.serving() == before
    kinds = [(past["kind"], past["outcome"]) for past in site.json("history")]
    assert kinds == [(kind, "done") for kind in ("rollback", "restore", "deploy")] + [
        ("deploy", "undone"),
        ("deploy", "done"),
    ]


def assert_told_what_changed(plan: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that a plan named nothing that was changed by hand, and of the rest only what differs between records."""
    assert (plan["problem"], plan["drift"], plan["notes"]) == (None, [], [])
    told = {section["name"] for section in plan["sections"]}
    assert {"deploy", "compose"} <= told
    differs = {
        "backup settings": before["settings"] != after["settings"],
        "secrets": before["release"]["secrets"] != after["release"]["secrets"],
        "images": before["release"]["images"] != after["release"]["images"],
    }
    assert {name for name in differs if name in told} == {name for name, differ in differs.items() if differ}
    assert bool(plan["migrations"]) == (after["schema_before"] != after["schema_after"])


@pytest.mark.full
@pytest.mark.parametrize("then", ["resume", "abort"])
@pytest.mark.parametrize("behind", ["place", "start", "worker", "switch"])
def test_todays_code_ends_a_deploy_that_an_earlier_one_began(site: Site, code: Path, behind: str, then: str) -> None:
    site.configure(app={"scan_interval_minutes": 7})
    cut_short(site, code, behind)

    go_on(site, then)

    site.configure()
    site.ppmctl("deploy")


@pytest.mark.full
@pytest.mark.parametrize("behind", ["start", "ready"])
def test_todays_code_finishes_a_rollback_that_an_earlier_one_began(site: Site, code: Path, behind: str) -> None:
    before = site.serving()
    site.configure(app={"scan_interval_minutes": 7})
    site.ppmctl("deploy", checkout=code)
    cut_short(site, code, behind, "rollback")

    go_on(site, "resume")

    assert site.healthy() == before
    site.configure()
    site.ppmctl("deploy")


@pytest.mark.full
@pytest.mark.parametrize("then", ["resume", "abort"])
@pytest.mark.parametrize("behind", ["start", "hold"])
def test_todays_code_ends_a_restore_that_an_earlier_one_began(site: Site, code: Path, behind: str, then: str) -> None:
    token = site.user
    add(site, token, "before")
    backup = by(code, site, "backup create")["id"]
    add(site, token, "after")
    cut_short(site, code, behind, "restore", backup, "--yes")

    go_on(site, then)

    assert names(site, token, "before", "after") in ([1, 0], [1, 1]), "the old database or the new one, whole"
    site.ppmctl("deploy")


@pytest.mark.full
@pytest.mark.parametrize("then", ["resume", "abort"])
@pytest.mark.parametrize("behind", ["rehearse", "planned", "hold", "ready"])
def test_todays_code_ends_a_breaking_deploy_that_an_earlier_one_began(
    site: Site, tmp_path: Path, behind: str, then: str
) -> None:
    before = site.serving()
    breaking = earlier.unpack(tmp_path / "breaking")
    revise(breaking, "9999", ADD, before=newest(breaking), compatibility="breaking", downgrade=DROP)
    cut_short(site, breaking, behind)

    go_on(site, then)

    if site.serving() != before:
        [back] = site.json("rollback")
        assert back["data"] == "downgraded"
    assert site.healthy() == before
    site.ppmctl("deploy")
