"""What a rollback does to the data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ppmkit.errors import PreflightError
from ppmkit.release.model import Images, Record, Release, Source
from ppmkit.upgrade.rollback import Schema, downgrade_plan, fits, restore_plan

IMAGES = Images(api="a", frontend="f", steward="s", traefik="t")


def record(id: str, *revisions: str, snapshot: str | None = None) -> Record:
    return Record(
        release=Release(id=id, images=IMAGES, secrets={}),
        color="blue",
        previous=None,
        source=Source(commit=None, dirty=False),
        who="me",
        when=datetime(2026, 1, 1, tzinfo=UTC),
        schema_before=revisions[-2] if len(revisions) > 1 else None,
        schema_after=revisions[-1],
        revisions=revisions,
        snapshot=snapshot,
        bytes_sent=0,
        steps=(),
    )


@pytest.mark.parametrize(
    ("revision", "floor", "known", "answer"),
    [
        ("2", "1", ("1", "2"), True),
        ("2", "1", ("1",), True),  # it was only expanded
        ("3", "3", ("1", "2"), False),  # it was broken
        ("1", "1", ("1", "2"), False),  # the release is newer than the database
        ("9", None, ("1",), False),
    ],
)
def test_a_release_fits_the_schema_it_knows_or_one_that_only_expanded(
    revision: str, floor: str | None, known: tuple[str, ...], answer: bool
) -> None:
    assert fits(Schema(revision=revision, floor=floor), known) is answer


def test_a_schema_goes_back_by_the_release_that_knows_the_way() -> None:
    found = Schema(revision="3", floor="3")

    change = downgrade_plan(found, record("new", "1", "2", "3"), record("old", "1"), (), "api-green")

    assert (change.service, change.of_live, change.command) == ("api-green", True, ("ppm", "downgrade", "1"))
    assert change.said == "3 → 1"


@pytest.mark.parametrize(
    ("snapshot", "words"), [("/data/snapshots/1.db", "ppmctl rollback --restore"), (None, "ppmctl deploy")]
)
def test_without_a_downgrade_the_next_step_is_the_snapshot_if_there_is_one(snapshot: str | None, words: str) -> None:
    now = record("new", "1", "2", snapshot=snapshot)

    with pytest.raises(PreflightError, match="no downgrade from 2") as refused:
        downgrade_plan(Schema(revision="2", floor="2"), now, record("old", "1"), ("2",), "api-blue")

    assert words in str(refused.value.next)


def test_the_snapshot_comes_back_if_the_release_can_run_on_it() -> None:
    now = record("new", "1", "2", "3", snapshot="/data/snapshots/1.db")

    change = restore_plan(now, record("old", "1", "2"), "/data/ppm.db")

    assert change.command == ("restore", "/data/snapshots/1.db", "/data/ppm.db")
    with pytest.raises(PreflightError, match="no snapshot that release older can run on"):
        restore_plan(now, record("older", "1"), "/data/ppm.db")
