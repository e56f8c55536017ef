"""What the journal says of the last operation."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppmkit.operation.journal import Intent, Outcome, entry, history, new_operation, unfinished
from ppmkit.release.model import Images, Release, Source

IMAGES = Images(api="a", frontend="f", steward="s", traefik="t")
STEPS = ("ship", "start", "switch")


def intent(**changes: object) -> Intent:
    values: dict[str, object] = {
        "operation": new_operation(),
        "kind": "deploy",
        "release": Release(id="0123456789ab", images=IMAGES, secrets={"session_secret": "1"}),
        "target": "green",
        "live": "blue",
        "source": Source(commit=None, dirty=False),
    }
    return Intent.model_validate(values | changes)


def line(about: Intent, what: str, outcome: Outcome, **more: object) -> str:
    return json.dumps(entry(about, "ann@desk", what, outcome, **more).document())


def begun(about: Intent) -> str:
    return line(about, about.kind, "begin", intent=about)


def test_an_operation_that_was_cut_short_is_known_with_all_it_takes_to_go_on() -> None:
    about = intent(canary=(5, 100))
    lines = [begun(about), line(about, "ship", "begin"), line(about, "ship", "done", facts={"way": "hold"})]

    found = unfinished([*lines, line(about, "start", "begin"), '{"torn'])

    assert found is not None
    assert found.intent == about
    assert (found.begun, found.done, found.facts) == (("ship", "start"), ("ship",), {"way": "hold"})


@pytest.mark.parametrize("outcome", ["done", "undone"])
def test_an_operation_that_ended_or_was_undone_is_not_unfinished(outcome: Outcome) -> None:
    about = intent()

    assert unfinished([begun(about), line(about, "ship", "begin"), line(about, "deploy", outcome)]) is None
    assert unfinished([]) is None


def test_a_step_that_was_undone_has_not_begun() -> None:
    about = intent()
    lines = [begun(about), *(line(about, step, "begin") for step in STEPS), line(about, "switch", "undone")]

    found = unfinished(lines)

    assert found is not None
    assert found.begun == ("ship", "start")


def test_an_older_operation_that_never_ended_is_past() -> None:
    first, second = intent(operation="1"), intent(operation="2")

    assert unfinished([begun(first), begun(second), line(second, "deploy", "done")]) is None


def test_an_operation_of_another_version_is_an_error_as_long_as_it_has_not_ended() -> None:
    strange = '{"operation": "9", "what": "deploy", "outcome": "begin", "intent": {"colour": "mauve"}}'

    with pytest.raises(ValueError, match="validation error"):
        unfinished([strange])
    assert unfinished([strange, '{"operation": "9", "what": "deploy", "outcome": "done"}']) is None
    assert history([strange]) == []


def test_the_history_is_newest_first_and_says_how_each_ended() -> None:
    first, second = intent(operation="1"), intent(operation="2", kind="rollback")
    lines = [
        begun(first),
        line(first, "ship", "begin"),
        line(first, "ship", "failed", error="no space left"),
        line(first, "deploy", "undone"),
        begun(second),
        line(second, "start", "done"),
    ]

    found = history(lines)

    assert [(past.kind, past.outcome, past.error, past.steps) for past in found] == [
        ("rollback", "unfinished", None, ("start",)),
        ("deploy", "undone", "no space left", ()),
    ]


@given(st.integers(min_value=0, max_value=200))
def test_a_journal_that_is_torn_anywhere_can_be_read(cut: int) -> None:
    about = intent(operation="1")
    text = "\n".join([begun(about), line(about, "ship", "begin")])

    found = unfinished(text[: len(text) - cut].splitlines())

    assert found is None or found.intent == about
