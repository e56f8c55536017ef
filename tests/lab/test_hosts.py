"""An environment of two hosts: one after another or at once, and what happens to the others when one fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ppmkit.lab import Lab, inventory, ssh_command
from tests.support.site import Site


@pytest.fixture(scope="module")
def pair(lab: Lab, live: Site, bare: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on both hosts, beside what else is there; whose port the firewall opens again at the end."""
    site = Site("pair", lab, 1, tmp_path_factory.mktemp("pair"))
    configure(site)
    site.provision()
    yield site
    configure(site)
    site.ppmctl("down --purge --yes")
    for other in (live, bare):
        other.configure()
        other.ppmctl("provision")


def configure(site: Site, **changes: object) -> None:
    """Write the YAML of the pair: the ports that others of these hosts do not take."""
    site.configure(
        hosts=inventory(site.lab)["hosts"],
        url=f"http://localhost:{site.host.https_port}",
        proxy={"http_port": 443, "internal_port": 8181},
        **changes,
    )


def sql(site: Site, number: int, statement: str) -> str:
    """Run a statement on the database of a host; return the first value that it gives."""
    code = (
        "import sys; from pysqlite3 import dbapi2; c = dbapi2.connect('/data/ppm.db', isolation_level=None); "
        "print(*(c.execute(sys.argv[1]).fetchone() or ()))"
    )
    found = "docker ps -q -f label=com.docker.compose.project=ppm-pair -f label=ppm.role=worker"
    script = f'docker exec $({found}) python -c "{code}" "{statement}"'
    argv = [*ssh_command(site.lab, site.lab.hosts[number - 1]), script]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@contextmanager
def ahead(site: Site, number: int) -> Iterator[None]:
    """Let the database of a host be one that only later releases can run on."""
    revision = sql(site, number, "SELECT version_num FROM alembic_version")
    floor = sql(site, number, "SELECT revision FROM schema_floor")
    sql(site, number, "UPDATE alembic_version SET version_num = 'beyond'")
    sql(site, number, "UPDATE schema_floor SET revision = 'beyond'")
    yield
    sql(site, number, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608
    sql(site, number, f"UPDATE schema_floor SET revision = '{floor}'")  # noqa: S608


def changed(checkout: Path) -> Path:
    """Change a line of the code: only a new image is asked about the schema."""
    with (checkout / "app" / "api" / "__init__.py").open("a") as code:
        code.write("# another line\n")
    return checkout


def releases(site: Site) -> list[str]:
    """Return the release of each host, as `status` tells."""
    return [host["release"] for host in site.json("status")["hosts"]]


@pytest.mark.timeout(400)
def test_hosts_are_brought_up_at_once_and_the_first_that_fails_stops_the_rest(pair: Site, checkout: Path) -> None:
    done = pair.json("deploy --parallel 2")
    one, two = (host["name"] for host in done["hosts"])
    assert all(host["changed"] for host in done["hosts"])
    assert releases(pair) == [done["release"]] * 2

    with ahead(pair, 2):
        refused = json.loads(pair.ppmctl("deploy --json", status=1, checkout=changed(checkout)).stdout)

    assert refused["host"] == two
    assert "does not know" in refused["error"] + (refused["seen"] or "")
    assert f"Done before: {one}" in refused["error"]
    new, old = releases(pair)
    assert old == done["release"] != new

    again = json.loads(pair.ppmctl("deploy --json", checkout=checkout).stdout)
    assert [host["changed"] for host in again["hosts"]] == [False, True]
    assert releases(pair) == [new] * 2


@pytest.mark.full
@pytest.mark.timeout(300)
def test_ctrl_c_is_heard_while_hosts_are_upgraded_at_once_and_each_is_undone(pair: Site) -> None:
    pair.ppmctl("deploy --parallel 2")
    before = releases(pair)

    configure(pair, app={"scan_interval_minutes": 8}, upgrade={"ready_timeout": "60s", "bake": "120s"})
    with pair.start("deploy --parallel 2") as running:
        running.await_words("✓ switch")
        assert running.interrupt() == 130
        assert running.said.count("interrupted") >= 1, running.said

    assert releases(pair) == before


@pytest.mark.full
def test_hosts_that_wait_are_named_when_the_first_one_fails(pair: Site, checkout: Path) -> None:
    pair.ppmctl("deploy --parallel 2")
    one, two = (host.name for host in pair.lab.hosts)
    with ahead(pair, 1):
        refused = json.loads(pair.ppmctl("deploy --json", status=1, checkout=changed(checkout)).stdout)

    assert refused["host"] == one
    assert f"Not started: {two}" in refused["error"]
