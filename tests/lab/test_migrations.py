"""Migrations on a real host, under load: beside what serves, while requests wait, taken back, and refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ppmkit.lab import Lab
from tests.support.load import losing_nothing
from tests.support.revisions import ADD, DROP, newest, revise
from tests.support.site import Site
from tests.support.waiting import eventually

LIVE_ONLY = '    if "rehearsal" not in str(op.get_bind().engine.url):\n'
BREAKS_THE_OLD = '    op.execute("ALTER TABLE projects RENAME COLUMN scan_error TO trouble")'


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site("migrating", lab, 2, tmp_path_factory.mktemp("migrating"))
    site.provision()
    site.ppmctl("deploy")
    yield site
    site.ppmctl("down", "--purge", "--yes")
    assert site.root("docker volume ls -q --filter name=migrating") == ""


@pytest.fixture
def head(checkout: Path) -> str:
    """The newest revision of the application."""
    return newest(checkout)


def revision(site: Site) -> str:
    found: str = site.told()["database"]["revision"]
    return found


def newest_backup(site: Site) -> tuple[str, str | None, bool]:
    """Return its kind, its revision, and whether it is verified."""
    found = site.json("backup list")[0]
    return found["kind"], found["revision"], found["verified"]


def by_hand(site: Site, *statements: str) -> None:
    """Change the database while the site serves, as nobody should."""
    script = f"""
import apsw
connection = apsw.Connection("/data/ppm.db")
connection.set_busy_timeout(10_000)
connection.execute({";".join(statements)!r})
"""
    text = base64.b64encode(script.encode()).decode()
    volume = "-v ppm-migrating_ppm_data:/data --entrypoint python"
    site.root(f"echo {text} | base64 -d | docker run -i --rm {volume} $(docker images -q ppm/steward | head -1) -")


def set_revision(site: Site, revision: str, *, floor: str) -> None:
    """Make the database say that it is at a revision."""
    by_hand(
        site,
        f"UPDATE alembic_version SET version_num = '{revision}'",  # noqa: S608
        f"UPDATE schema_floor SET revision = '{floor}'",  # noqa: S608
    )


def steps(done: str) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in json.loads(done)["steps"]}


def test_an_expanding_migration_runs_beside_the_old_release_which_a_rollback_brings_back_on_it(
    site: Site, checkout: Path, head: str
) -> None:
    before = site.serving()
    revise(checkout, "9998", ADD, before=head, downgrade=DROP)

    with losing_nothing(site):
        done = steps(site.ppmctl("deploy", "--json", checkout=checkout).stdout)
        assert revision(site) == "9998"
        assert newest_backup(site) == ("migration", head, True)
        back = site.json("rollback")

    assert done["migrate"] == f"{head} → 9998"
    assert "hold" not in done
    assert "read and written" in done["rehearse"]
    assert [(host["release"], host["data"]) for host in back] == [(before, "untouched")]
    assert site.serving() == before
    assert revision(site) == "9998"
    by_hand(site, "ALTER TABLE projects DROP COLUMN added_by")  # the next test finds what this one has found
    set_revision(site, head, floor="0001")


@pytest.mark.full
def test_a_breaking_migration_runs_while_requests_wait_and_a_rollback_takes_it_back(
    site: Site, checkout: Path, head: str
) -> None:
    before = site.serving()
    revise(checkout, "9998", ADD, before=head, downgrade=DROP)
    revise(checkout, "9999", DROP, before="9998", compatibility="breaking", downgrade=ADD)

    with losing_nothing(site):
        done = steps(site.ppmctl("deploy", "--json", checkout=checkout).stdout)
        assert revision(site) == "9999"
        back = site.json("rollback")

    assert done["hold"].startswith(f"{head} → 9999 in ")
    assert newest_backup(site) == ("migration", "9999", True), "the rollback changed the schema, too"
    assert [(host["release"], host["data"]) for host in back] == [(before, "downgraded")]
    assert site.serving() == before
    assert revision(site) == head
    assert [item["kind"] for item in site.json("history")[:2]] == ["rollback", "deploy"]


def test_a_migration_without_a_way_back_needs_the_snapshot_and_a_yes_for_the_rows_that_go(
    site: Site, checkout: Path, head: str
) -> None:
    before = site.serving()
    revise(checkout, "9999", BREAKS_THE_OLD, before=head, compatibility="breaking")
    (checkout / "app/models.py").write_text(
        (checkout / "app/models.py")
        .read_text()
        .replace(
            "scan_error: Mapped[str | None] = mapped_column(String(500))",
            'scan_error: Mapped[str | None] = mapped_column("trouble", String(500))',
        )
    )
    kept, new = ({"name": name, "url": f"https://git.example.org/{name}"} for name in ("kept", "new"))
    headers = {"Authorization": f"Bearer {site.user}"}
    with httpx.Client(base_url=site.url, headers=headers) as client:
        assert client.post("/api/projects", json=kept).status_code == 201
        site.ppmctl("deploy", checkout=checkout)
        made = client.post("/api/projects", json=new)
        assert made.status_code == 201, site.ppmctl("logs", "--tail", "20").stdout

        refused = site.ppmctl("rollback", status=1)
        assert "there is no downgrade from 9999" in refused.stderr
        assert "ppmctl rollback --restore" in refused.stderr
        asked = site.ppmctl("rollback", "--restore", status=1)
        assert "rows written since the snapshot" in asked.stderr
        assert "projects 1" in asked.stderr
        assert revision(site) == "9999"
        done = site.json("rollback", "--restore", "--yes")

        [replaced, before_migration] = site.json("backup list")[:2]
        assert (replaced["kind"], replaced["revision"]) == ("safety", "9999")
        assert (before_migration["kind"], before_migration["revision"]) == ("migration", head)
        assert [(host["release"], host["data"]) for host in done] == [(before, "restored")]
        assert site.serving() == before
        assert revision(site) == head
        there = [client.get("/api/projects", params={"name": each["name"]}).json()["total"] for each in (kept, new)]
    assert there == [1, 0]


def test_a_migration_that_says_expand_and_breaks_the_old_release_is_caught_on_a_copy(
    site: Site, checkout: Path, head: str
) -> None:
    before = site.serving()
    revise(checkout, "9999", BREAKS_THE_OLD, before=head)
    (checkout / "app/models.py").write_text(
        (checkout / "app/models.py")
        .read_text()
        .replace(
            "scan_error: Mapped[str | None] = mapped_column(String(500))",
            'scan_error: Mapped[str | None] = mapped_column("trouble", String(500))',
        )
    )

    with losing_nothing(site):
        failed = site.ppmctl("deploy", status=1, checkout=checkout)

    assert "the old release does not work on the changed schema" in failed.stderr
    assert "the database was not touched" in failed.stderr
    assert f"Release {before} serves" in failed.stderr
    assert revision(site) == head


@pytest.mark.full
def test_a_disk_that_is_too_full_for_a_snapshot_stops_the_upgrade_before_anything_changes(
    site: Site, checkout: Path, head: str
) -> None:
    before = site.serving()
    revise(checkout, "9999", ADD, before=head)
    place = "$(docker volume inspect -f '{{.Mountpoint}}' ppm-migrating_ppm_data)/snapshots"
    site.root(f"mkdir -p {place}; mount -t tmpfs -o size=64m,uid=10001,gid=10001 tmpfs {place}")
    try:
        with losing_nothing(site):
            failed = site.ppmctl("deploy", status=1, checkout=checkout)
    finally:
        site.root(f"umount {place}")

    assert "the disk is too full for a copy" in failed.stderr
    assert f"Release {before} serves" in failed.stderr
    assert revision(site) == head


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ('        raise RuntimeError("only here")', "the change of the database failed"),
        pytest.param(
            '        __import__("time").sleep(60)', "the database was not changed within 6 s", marks=pytest.mark.full
        ),
    ],
)
def test_a_hold_that_does_not_go_as_rehearsed_is_undone_without_a_request_lost(
    site: Site, checkout: Path, head: str, trouble: str, words: str
) -> None:
    before = site.serving()
    revise(checkout, "9999", f"{ADD}\n{LIVE_ONLY}{trouble}", before=head, compatibility="breaking")
    site.configure(upgrade={"hold_limit": "6s"})

    with losing_nothing(site):
        failed = site.ppmctl("deploy", status=1, checkout=checkout)

    site.configure()
    assert words in failed.stderr
    assert f"Release {before} serves" in failed.stderr
    assert site.serving() == before
    assert site.misnamed() == []
    assert revision(site) == head
    assert site.root("docker ps -aq --filter label=com.docker.compose.oneoff=True; ls /srv/ppm/migrating/holds") == ""


def test_a_hold_that_would_last_too_long_is_refused_and_a_maintenance_page_accepted(
    site: Site, checkout: Path, head: str
) -> None:
    before = site.serving()
    slow = f'{ADD}\n    __import__("time").sleep(2)'
    revise(checkout, "9999", slow, before=head, compatibility="breaking", downgrade=DROP)
    site.configure(upgrade={"hold_limit": "1s"})

    refused = site.ppmctl("deploy", status=1, checkout=checkout)
    assert re.search(r"requests would wait for [2-9]\.\d", refused.stderr), refused.stderr
    assert "--maintenance" in refused.stderr
    assert site.serving() == before

    with site.start("deploy", "--maintenance", checkout=checkout) as deploy:
        assert eventually(lambda: httpx.get(f"{site.url}/api/system").status_code == 503, 180), deploy.said
        closed = httpx.get(f"{site.url}/api/projects")
        page = httpx.get(site.url)
        assert deploy.process.wait(180) == 0, deploy.said
    assert (closed.status_code, closed.headers["Retry-After"]) == (503, "30")
    assert page.status_code == 503
    assert "Back in a moment" in page.text
    assert revision(site) == "9999"
    site.ppmctl("rollback")
    site.configure()
    assert revision(site) == head


def test_a_revision_that_the_release_does_not_know_is_refused(site: Site, checkout: Path) -> None:
    before = site.serving()
    known = site.root("docker exec $(docker ps -qf label=ppm.role=api | head -1) ppm migrations")
    now = json.loads(known)["current"]
    set_revision(site, "7777", floor="7777")
    code = checkout / "app" / "api" / "__init__.py"
    code.write_text(f"{code.read_text()}\n# another image\n")

    refused = site.ppmctl("deploy", status=1, checkout=checkout)

    set_revision(site, now, floor="0001")
    assert "does not know the schema" in refused.stderr
    assert "7777" in refused.stderr
    assert site.serving() == before


def test_a_release_that_is_unknown_or_gone_is_no_goal_of_a_rollback(site: Site) -> None:
    before = site.serving()

    assert "is not there: it never was, it was pruned" in site.ppmctl("rollback 0123456789ab", status=2).stderr
    assert "serves already" in site.ppmctl("rollback", before, status=2).stderr
    assert site.serving() == before
