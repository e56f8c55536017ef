"""The worker through upgrades on a real host: a job of every two seconds is neither repeated nor skipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ppmkit.lab import Lab
from tests.support.site import Site

EVERY = timedelta(seconds=2)
LIST = "    return (\n"
TICK = f'        Job("tick", timedelta(seconds={EVERY.seconds}), lambda run: run.slot.isoformat()),\n'
RUNS = """
import json
from pysqlite3 import dbapi2
runs = dbapi2.connect("/data/ppm.db").execute("SELECT outcome, worker, release FROM job_runs WHERE job = 'tick'")
print(json.dumps(runs.fetchall()))
"""


@pytest.fixture
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site("ticking", lab, 2, tmp_path_factory.mktemp("ticking"))
    site.provision()
    yield site
    site.ppmctl("down", "--purge", "--yes")


def runs(site: Site, checkout: Path) -> list[tuple[datetime, str, str]]:
    """Return the interval of each run of the job, its worker and its release, in the order they were recorded in."""
    said = site.ppmctl("exec api", "--", "python", "-c", RUNS, checkout=checkout).stdout
    return [(datetime.fromisoformat(slot), worker, release) for slot, worker, release in json.loads(said)]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("upgrades", [2, pytest.param(10, marks=pytest.mark.full)])
def test_a_job_of_every_two_seconds_goes_through_upgrades(site: Site, checkout: Path, upgrades: int) -> None:
    jobs = checkout / "app/worker/jobs.py"
    jobs.write_text(jobs.read_text().replace(LIST, LIST + TICK))
    site.ppmctl("deploy", checkout=checkout)
    for number in range(upgrades):
        site.configure(app={"scan_interval_minutes": 100 + number})
        site.ppmctl("deploy", checkout=checkout)

    found = runs(site, checkout)
    slots = [slot for slot, _, _ in found]
    gaps = [after - before for before, after in pairwise(slots)]

    assert len({release for _, _, release in found}) == len({worker for _, worker, _ in found}) == upgrades + 1
    assert len(slots) == len(set(slots)), "a run happened twice"
    assert timedelta(0) < min(gaps) <= max(gaps) <= 2 * EVERY, f"the longest gap: {max(gaps)}"
