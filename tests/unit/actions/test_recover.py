"""What becomes of an operation that was cut short."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ppmkit.actions.recover import way
from ppmkit.operation.journal import Unfinished
from ppmkit.release.model import Release
from tests.unit.operation.test_journal import IMAGES, intent

OTHER = Release(id="another", images=IMAGES, secrets={})


def cut_short(*done: str, **changes: object) -> Unfinished:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return Unfinished(intent=intent(**changes), who="ann@desk", since=when, begun=(*done, "next"), done=done, facts={})


@pytest.mark.parametrize("done", [(), ("ship", "place"), ("ship", "place", "switch")])
def test_an_operation_for_the_wanted_release_goes_on_and_any_other_is_taken_back(done: tuple[str, ...]) -> None:
    found = cut_short(*done)

    assert way(found, found.intent.release, placed=True) == "go on"
    assert way(found, OTHER, placed=True) == "take back"
    assert way(found, None, placed=True) == "take back"


def test_one_whose_files_never_arrived_cannot_go_on() -> None:
    found = cut_short("ship")

    assert way(found, found.intent.release, placed=False) == "take back"


def test_one_that_is_past_its_last_way_back_goes_on_whatever_is_wanted() -> None:
    assert way(cut_short("switch", "bake"), OTHER, placed=True) == "go on"
    assert way(cut_short("start", "switch", kind="rollback"), None, placed=True) == "go on"


def test_a_repair_of_what_serves_that_was_cut_short_does_not_stand_in_the_way_of_another_release() -> None:
    assert way(cut_short("start", live="green"), OTHER, placed=True) == "take back"
