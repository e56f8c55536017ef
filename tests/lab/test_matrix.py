"""The fault matrix: whatever becomes of ppmctl or of its host in the middle of an upgrade, users do not notice, no
acknowledged row is lost, and the next command ends it.

`make test` runs a part of it; `make test-all` all: every step, every fault, every way to go on, twenty random moments.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.ledger import load, lost
from ppmkit.lab.login import settle
from ppmkit.local.engine import local_docker
from tests.support.load import losing_nothing
from tests.support.revisions import ADD, DROP, newest, revise
from tests.support.site import ALWAYS, Running, Site
from tests.support.waiting import eventually

WAYS = ["resume", "abort", "deploy"]
"""The ways to go on."""


HOLD_LOG = {"planned": ("plan", "network"), "hold": ("log", "changing")}
"""Moments within the hold, by what its files on the host say then."""


def kill(site: Site, deploy: Running) -> None:  # noqa: ARG001
    """`kill -9` of ppmctl."""
    deploy.process.kill()


def cut(site: Site, deploy: Running) -> None:  # noqa: ARG001
    """The network between here and the host goes away."""
    site.root("pkill -9 -u deploy -f '^sshd' || true")


def restart_docker(site: Site, deploy: Running) -> None:  # noqa: ARG001
    """The host's Docker daemon is restarted."""
    site.root("systemctl restart docker")


def reboot(site: Site, deploy: Running) -> None:  # noqa: ARG001
    """The host is restarted."""
    subprocess.run(["docker", "restart", site.host.container], check=True, capture_output=True)
    settle(local_docker(), site.lab)


@dataclass(frozen=True)
class Case:
    """One row."""

    fault: Callable[[Site, Running], None]
    behind: str
    """The step after which it happens; or seconds after the first step."""
    then: str
    """The command that goes on."""

    def __str__(self) -> str:
        return f"{self.fault.__name__}-{self.behind}-{self.then}"


SOME = [Case(cut, "worker", "abort")]
HELD = [Case(kill, "hold", "resume")]
REBOOTS = [Case(reboot, "switch", "resume")]


def _all() -> list[Case]:
    faults = (kill, cut, restart_docker)
    cases = [Case(fault, step, then) for fault in faults for step in ALWAYS[:-1] for then in WAYS]
    dice = random.Random(4)  # noqa: S311
    return cases + [Case(kill, f"{dice.uniform(0, 9):.2f}", dice.choice(WAYS)) for _ in range(20)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    held = [
        Case(fault, at, then)
        for fault in (kill, cut)
        for at in ("rehearse", "start", "planned", "hold", "ready")
        for then in WAYS
    ]
    rows = {
        "case": (_all(), SOME),
        "held": (held, HELD),
        "rebooted": ([Case(reboot, "start", "resume"), *REBOOTS], REBOOTS),
    }
    for name, (cases, some) in rows.items():
        if name in metafunc.fixturenames:
            marked = [pytest.param(case, marks=[] if case in some else [pytest.mark.full]) for case in cases]
            metafunc.parametrize(name, marked, ids=str)


@pytest.fixture(scope="module")
def site(live: Site) -> Iterator[Site]:
    """The site that serves; after these tests it serves this checkout again."""
    yield live
    live.configure()
    live.ppmctl("deploy")


def strike(site: Site, case: Case, deploy: Running) -> None:
    """Let the fault happen when it is due, and wait for ppmctl's end."""
    if case.behind in HOLD_LOG:
        log, words = HOLD_LOG[case.behind]
        log = f"cat {site.directory}/holds/*/{log} 2>/dev/null || true"
        assert eventually(lambda: words in site.root(log) or deploy.process.poll() is not None, 180), deploy.said
    elif case.behind[0].isdigit():
        deploy.await_words("✓ ship")
        until = time.monotonic() + float(case.behind)
        eventually(lambda: time.monotonic() > until or deploy.process.poll() is not None, 20)
    else:
        deploy.await_words(f"✓ {case.behind}")
    case.fault(site, deploy)
    deploy.process.wait(120)
    assert "Traceback" not in deploy.said


def go_on(site: Site, then: str, checkout: Path | None = None) -> None:
    """End what was cut short: undone if that can be, else finished."""
    command = site.argv(then) if checkout is None else site.argv(then, checkout=checkout)
    done = subprocess.run(command, env=site.variables, capture_output=True, text=True, check=False, timeout=240)
    if then == "abort" and done.returncode:
        assert re.search("users are on release|so that no row is lost", done.stderr), done.stderr
        return go_on(site, "resume")
    if then == "resume" and done.returncode == 2:
        assert "had not arrived" in done.stderr, done.stderr
        return go_on(site, "abort")
    assert done.returncode == 0, f"{then}: {done.stdout}\n{done.stderr}"
    assert site.healthy()
    assert "no operation was interrupted" in site.ppmctl("resume").stdout
    return None


_number = iter(range(100, 10_000))


def test_an_upgrade_that_is_hit_costs_users_nothing_and_is_ended_by_the_next_command(site: Site, case: Case) -> None:
    site.configure(app={"scan_interval_minutes": next(_number)})
    # A daemon that starts rewrites the rules of published ports: a connection in that moment is reset.
    with losing_nothing(site, resets=3 if case.fault is restart_docker else 0):
        with site.start("deploy") as deploy:
            strike(site, case, deploy)
        go_on(site, case.then)

    assert site.json("deploy")["release"]


@pytest.mark.timeout(400)
def test_a_breaking_upgrade_that_is_hit_costs_users_nothing_either(site: Site, held: Case, checkout: Path) -> None:
    revise(checkout, "9999", ADD, before=newest(checkout), compatibility="breaking", downgrade=DROP)
    site.configure(app={"scan_interval_minutes": next(_number)})
    before = site.serving()
    with losing_nothing(site):
        with site.start("deploy", checkout=checkout) as deploy:
            strike(site, held, deploy)
        go_on(site, held.then, checkout)
        if site.serving() != before:
            [back] = site.json("rollback")
            assert back["data"] == "downgraded"

    assert site.serving() == before


def test_a_host_that_reboots_comes_back_serving_and_has_every_acknowledged_row(site: Site, rebooted: Case) -> None:
    """Requests fail while it is down, and until its containers are up again: nothing can answer them."""
    site.configure(app={"scan_interval_minutes": next(_number)})
    with load(site.url, site.user, rate=30, connections=4) as running:
        with site.start("deploy") as deploy:
            strike(site, rebooted, deploy)
        go_on(site, rebooted.then)
        report = running.stop()

    assert report.failed > 0
    assert asyncio.run(lost(site.url, site.user, report.acknowledged)) == set()
    site.ppmctl("deploy")
