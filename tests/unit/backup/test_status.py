"""What a steward's document says to people, and what of it is a problem: plain data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ppmkit.backup import status
from ppmkit.backup.status import Facts
from ppmkit.cli import show_backups
from ppmkit.steward import report as written
from ppmkit.steward.catalog import Backup
from ppmkit.steward.report import Failure

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 11, 2, 30, tzinfo=UTC)
MADE = {"id": "one", "at": "2026-03-10T02:30:00Z", "bytes": 3 << 20, "verified": True, "seconds": 2.5}
READ = {"id": "one", "at": "2026-03-10T09:30:00Z", "level": "L4", "rto_seconds": 9.25, "rpo_seconds": 25200}


def known(**changes: Any) -> Facts:
    values = {
        "written": "2026-03-10T11:59:30Z",
        "since": "2026-03-09T11:00:00Z",
        "objective_seconds": 26 * 3600,
        "last_backup": MADE,
        "last_drill": {**READ, "outcome": "ok"},
        "last_proven": {**READ, "outcome": "ok"},
        "next_backup": "2026-03-11T02:30:00Z",
        "next_drill": "2026-03-15T04:30:00Z",
        "failures": {},
        "of a newer version": True,
    }
    return Facts.model_validate(values | changes)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (known(), None),
        (None, "the steward has not reported; see"),
        (known(written="2026-03-10T11:00:00Z"), "has not reported since 2026-03-10 11:00:00 UTC"),
        (known(last_backup={**MADE, "at": "2026-03-09T09:00:00Z"}), "no backup since 2026-03-09 09:00:00 UTC"),
        (known(last_backup={**MADE, "verified": False}), "backup one is damaged"),
        (known(last_backup=None), None),
        (known(last_backup=None, since="2026-03-08T00:00:00Z"), "there was no backup yet"),
        (known(last_drill={**READ, "outcome": "failed"}), "backup one could not be read back"),
        (known(last_drill={**READ, "outcome": "inconclusive"}), None),
        (
            known(failures={"copy to offsite": {"times": 3, "said": "refused"}}),
            "copy to offsite has failed 3 times: re",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_a_problem_that_says_so(found: Facts | None, problem: str | None) -> None:
    said = list(status.problems(found, NOW))

    assert (len(said) == 1 and problem in said[0]) if problem else said == []


def test_status_says_when_it_was_how_much_would_be_lost_and_how_long_it_takes() -> None:
    backup, drill = show_backups.status(known(), NOW)

    assert backup.startswith("backup  one, 10 h ago, 3.0MiB, verified; next at ")
    assert drill.startswith("drill   one, 2 h ago, L4 ok, RTO 9.2 s, RPO 7 h; next at ")
    assert next(show_backups.status(known(last_backup=None, last_drill=None), NOW)).startswith("backup  none yet; next")


def backup(id: str, *evidence: tuple[str, str, str], kind: str = "nightly") -> Backup:
    """Return one that was made at its name's time, with its evidence: time, level, outcome."""
    lines = [
        {"time": time, "level": level, "outcome": outcome, "seen": "", "seconds": 1}
        for time, level, outcome in evidence
    ]
    manifest = {"id": id, "kind": kind, "created": id, "data": {"bytes": 5}, "seconds": {"copy": 1, "pack": 2}}
    return Backup(None, manifest, tuple(lines))  # type: ignore[arg-type]


def described(*backups: Backup, **failures: Failure) -> written.Facts:
    when: dict[str, Any] = {"now": NOW, "since": NOW, "next_backup": LATER, "next_drill": LATER}
    return written.facts(backups, failures, objective=LATER - NOW, **when)


def test_what_was_proven_when_it_was_made_or_only_by_its_hash_was_not_restored() -> None:
    made = ("2026-03-09T02:31:00+00:00", "L3", "ok")
    first = backup("2026-03-09T02:30:00+00:00", made, ("2026-03-09T12:00:00+00:00", "L4", "ok"))
    second = backup("2026-03-10T02:30:00+00:00", made, ("2026-03-10T04:30:00+00:00", "L0", "inconclusive"))

    found = described(first, second)

    assert found["last_backup"] == {"id": second.id, "at": second.id, "bytes": 5, "verified": True, "seconds": 3}
    assert found["last_drill"] is not None
    assert (found["last_drill"]["id"], found["last_drill"]["rpo_seconds"]) == (second.id, 7200)
    assert found["last_proven"] is not None
    assert (found["last_proven"]["id"], found["last_proven"]["level"]) == (first.id, "L4")
    assert Facts.model_validate(found).next_backup == LATER


def test_a_damaged_backup_and_what_a_restore_replaced_are_not_the_last_one() -> None:
    made, bad = ("2026-03-09T02:31:00+00:00", "L3", "ok"), ("2026-03-10T04:30:00+00:00", "L1", "failed")
    good = backup("2026-03-09T02:30:00+00:00", made)
    damaged, replaced = (
        backup("2026-03-10T02:30:00+00:00", made, bad),
        backup("2026-03-10T09:00:00+00:00", made, kind="safety"),
    )

    assert (described(good, damaged, replaced)["last_backup"] or {})["id"] == good.id
    assert (described(damaged)["last_backup"] or {})["verified"] is False
    assert described(replaced)["last_backup"] is None


def test_moments_between_backups_are_told_to_people_and_programs() -> None:
    span = {"first": "2026-03-09T12:00:00Z", "last": "2026-03-10T11:59:29Z"}
    *_, line = show_backups.status(known(continuous=[span]), NOW)

    assert line.startswith("any moment from 2026-03-")
    assert list(status.problems(known(continuous=[]), NOW)) == []
