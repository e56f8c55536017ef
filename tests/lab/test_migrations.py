"""Migrations on a real host: an expanding one comes before the switch, and the release before it still runs after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.lab import Lab
from tests.site import Site

EXPAND = '''"""Remember who added a project."""

import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "0001"
compatibility = "expand"


def upgrade() -> None:
    op.add_column("projects", sa.Column("added_by", sa.String(200)))
'''


@pytest.fixture
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site("migrating", lab, 2, tmp_path_factory.mktemp("migrating"))
    site.provision()
    site.ppmctl("deploy")
    yield site
    site.ppmctl("down", "--purge", "--yes")
    assert site.root("docker volume ls -q --filter name=migrating") == ""


def test_an_expanding_migration_is_applied_and_the_release_before_it_still_runs(site: Site, checkout: Path) -> None:
    before, token = site.serving(), site.token("migrator")
    headers = {"Authorization": f"Bearer {token}"}
    project = {"name": "old", "url": "https://git.example.org/old.git"}
    assert httpx.post(f"{site.url}/api/projects", json=project, headers=headers).status_code == 201
    (checkout / "app/migrations/versions/9998_added_by.py").write_text(EXPAND)

    done = json.loads(site.ppmctl("deploy", "--json", checkout=checkout).stdout)

    assert {step["name"]: step["outcome"] for step in done["steps"]}["migrate"] == "0001 → 9998"
    record = site.json("releases")[0]
    assert (record["schema_before"], record["schema_after"]) == ("0001", "9998")
    assert httpx.get(f"{site.url}/api/system").json()["database"]["revision"] == "9998"

    site.ppmctl("deploy")  # this checkout does not know the new column

    assert site.serving() == before
    found = httpx.get(f"{site.url}/api/projects", headers=headers).json()
    assert [item["name"] for item in found["items"]] == ["old"]
