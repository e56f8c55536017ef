"""What the page is told of its host."""

from __future__ import annotations

import json

from ppmkit.operation.journal import history
from ppmkit.operation.publish import LAST, deploys
from tests.unit.operation.test_journal import begun, intent, line


def test_the_page_is_told_of_the_last_operations_that_have_ended_and_not_by_whom() -> None:
    undone, done, going = intent(operation="1"), intent(operation="2", kind="rollback"), intent(operation="3")
    lines = [begun(undone), line(undone, "deploy", "undone"), begun(done), line(done, "rollback", "done"), begun(going)]

    text = deploys(history(lines))

    assert [(it["kind"], it["outcome"], it["color"]) for it in json.loads(text)["deploys"]] == [
        ("rollback", "done", "green"),
        ("deploy", "undone", "green"),
    ]
    assert "ann" not in text


def test_it_is_told_of_no_more_than_it_shows() -> None:
    many = [intent(operation=f"{number:03}") for number in range(LAST + 5)]
    lines = [written for about in many for written in (begun(about), line(about, "deploy", "done"))]

    assert len(json.loads(deploys(history(lines)))["deploys"]) == LAST
