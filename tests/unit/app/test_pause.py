"""How long a project is left alone after a scan."""

from __future__ import annotations

from datetime import timedelta

from app.worker.scans import pause


def test_failures_in_a_row_put_the_next_scan_off_for_longer() -> None:
    hour = timedelta(hours=1)
    pauses = [pause(hour, failures) for failures in range(8)]

    for found, hours in zip(pauses, (1, 1, 2, 4, 8, 16, 24, 24), strict=True):
        assert timedelta(hours=hours) <= found <= timedelta(hours=hours * 1.1)
    assert pause(timedelta(days=7), 8) >= timedelta(days=7)


def test_projects_that_were_added_together_do_not_stay_together() -> None:
    assert len({pause(timedelta(hours=1), 0) for _ in range(20)}) > 10
