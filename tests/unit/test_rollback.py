"""What a rollback does to the data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploy.errors import UpgradeError
from deploy.release import Images, Record, Release, Source
from deploy.rollback import Schema, decide, fits

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
    change = decide(
        Schema(revision="3", floor="3"),
        record("new", "1", "2", "3"),
        record("old", "1"),
        (),
        live="green",
        restore=False,
    )

    assert (change.service, change.of_live, change.command) == ("api-green", True, ("ppm", "downgrade", "1"))
    assert change.said == "3 → 1"


def test_the_snapshot_is_brought_back_only_when_asked_for() -> None:
    now, wanted = record("new", "1", "2", snapshot="/data/snapshots/1.db"), record("old", "1")
    found = Schema(revision="2", floor="2")

    assert decide(found, now, wanted, (), live="blue", restore=True).command == ("restore", "/data/snapshots/1.db")
    with pytest.raises(UpgradeError, match="no downgrade from 2") as refused:
        decide(found, now, wanted, ("2",), live="blue", restore=False)
    assert "ppmctl rollback --restore" in str(refused.value.next)


def test_without_a_downgrade_and_a_snapshot_there_is_no_way_back() -> None:
    with pytest.raises(UpgradeError, match="no downgrade from 2") as refused:
        decide(
            Schema(revision="2", floor="2"),
            record("new", "1", "2"),
            record("old", "1"),
            ("2",),
            live="blue",
            restore=False,
        )

    assert "ppmctl deploy" in str(refused.value.next)
