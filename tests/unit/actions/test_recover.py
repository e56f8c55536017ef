"""Whether an interrupted operation is resumed or aborted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ppmkit.actions.recover import resolution
from ppmkit.operation.journal import Unfinished
from ppmkit.release.model import Release
from tests.unit.operation.test_journal import IMAGES, intent

OTHER = Release(id="another", images=IMAGES, secrets={})


def cut_short(*done: str, **changes: object) -> Unfinished:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return Unfinished(intent=intent(**changes), who="ann@desk", since=when, begun=(*done, "next"), done=done, facts={})


@pytest.mark.parametrize("done", [(), ("ship", "place"), ("ship", "place", "switch")])
def test_an_operation_for_the_wanted_release_goes_on_and_any_other_is_taken_back(done: tuple[str, ...]) -> None:
    interrupted = cut_short(*done)

    assert resolution(interrupted, interrupted.intent.release, placed=True) == "resume"
    assert resolution(interrupted, OTHER, placed=True) == "abort"
    assert resolution(interrupted, None, placed=True) == "abort"


def test_one_whose_files_never_arrived_cannot_go_on() -> None:
    interrupted = cut_short("ship")

    assert resolution(interrupted, interrupted.intent.release, placed=False) == "abort"


def test_one_that_is_past_its_last_way_back_goes_on_whatever_is_wanted() -> None:
    assert resolution(cut_short("switch", "bake"), OTHER, placed=True) == "resume"
    assert resolution(cut_short("start", "switch", kind="rollback"), None, placed=True) == "resume"


def test_a_repair_of_what_serves_that_was_cut_short_does_not_stand_in_the_way_of_another_release() -> None:
    assert resolution(cut_short("start", live="green"), OTHER, placed=True) == "abort"
