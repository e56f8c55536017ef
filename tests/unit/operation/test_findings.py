"""Findings: what the journal of any version says, and what it gets."""

from __future__ import annotations

from ppmkit.operation.findings import Findings

JOURNAL = {
    "watched": "2026-11-29T13:42:16.123456789Z",
    "schema_before": "",
    "schema_after": "0004",
    "revisions": "0001 0002 0003 0004",
    "way": "hold",
    "change": "0003 → 0004",
    "predicted": "0.412",
    "snapshot_seconds": "1.5",
    "held": "2.25",
    "failed": "",
    "filed": "20261129T134216500",
    "safety": "the previous database is backup 20261129T134216500",
}


def test_the_texts_of_a_journal_come_back_as_they_were() -> None:
    assert Findings.read(JOURNAL).texts() == JOURNAL


def test_what_a_newer_version_found_out_is_left_out() -> None:
    assert Findings.read({"way": "beside", "weather": "fair"}) == Findings(way="beside")


def test_a_step_adds_what_it_found_out_and_keeps_the_rest() -> None:
    known = Findings.read({"way": "beside", "predicted": "3"}).updated(Findings(way="hold", failed=""))

    assert known.texts() == {"way": "hold", "predicted": "3.0", "failed": ""}


def test_an_operation_that_has_found_out_nothing_writes_nothing() -> None:
    assert Findings().texts() == {}
