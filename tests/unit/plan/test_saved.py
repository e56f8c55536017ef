"""A saved plan: private, whole, and held against what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ppmkit.database import migrate
from ppmkit.errors import UsageError
from ppmkit.plan import saved
from ppmkit.plan.decide import stale
from ppmkit.plan.model import Basis, EnvironmentPlan, HostPlan
from ppmkit.release import migrations

BASIS = Basis(color="blue", release="aaa", schema_revision="0001", changes=("release aaa → bbb",), drift=())
REVISIONS = tuple(
    migrations.Revision(revision=f"000{n}", compatibility="expand", summary=f"step {n}") for n in range(1, 4)
)


def plan_of(name: str = "test", **changes: Any) -> EnvironmentPlan:
    host = HostPlan(name="test-1", basis=BASIS).model_copy(update=changes)
    return EnvironmentPlan(environment=name, release="bbb", changed=True, hosts=(host,))


def test_a_plan_is_saved_for_its_owner_only_and_read_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.touch(mode=0o644)

    saved.write(plan_of(migrations=REVISIONS), file)

    assert file.stat().st_mode & 0o777 == 0o600
    assert saved.read(file, "test") == plan_of(migrations=REVISIONS)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"environment": "test"}', b"\xff\xfe"])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(content)

    with pytest.raises(UsageError, match="is not a plan") as refused:
        saved.read(file, "test")
    assert refused.value.next == f"ppmctl plan -e test --out {file}"


def test_a_plan_of_another_environment_is_refused(tmp_path: Path) -> None:
    saved.write(plan_of("staging"), tmp_path / "plan.json")

    with pytest.raises(UsageError, match="is a plan of staging, not of test"):
        saved.read(tmp_path / "plan.json", "test")


def test_a_plan_that_cannot_be_written_says_where_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        saved.write(plan_of(), tmp_path / "none" / "plan.json")


def test_a_plan_holds_while_its_host_is_as_it_was() -> None:
    assert stale(HostPlan(name="test-1", basis=BASIS), BASIS) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"color": "green"}, ["the live color was blue, is green"]),
        ({"release": None}, ["the release was aaa, is none"]),
        ({"schema_revision": "0002"}, ["the database's revision was 0001, is 0002"]),
        ({"drift": ("api-1: it is exited",)}, ["new: api-1: it is exited"]),
        ({"changes": ()}, ["gone: release aaa → bbb"]),
    ],
)
def test_each_thing_that_is_no_longer_so_is_named(changes: dict[str, Any], words: list[str]) -> None:
    assert stale(HostPlan(name="test-1", basis=BASIS), BASIS.model_copy(update=changes)) == words


def test_a_plan_of_a_host_that_was_not_seen_never_holds() -> None:
    assert stale(HostPlan(name="test-1", problem="no connection"), BASIS)


@pytest.mark.parametrize(("current", "lacks"), [(None, 3), ("0001", 2), ("0003", 0), ("9999", 0)])
def test_a_database_lacks_the_revisions_after_its_own(current: str | None, lacks: int) -> None:
    assert migrate.lacking(REVISIONS, current) == REVISIONS[3 - lacks :]
