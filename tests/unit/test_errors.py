"""An error never changes after it was raised; added context makes a new one."""

from __future__ import annotations

import pytest

from ppmkit.errors import HostUnreachable, PpmctlError


@pytest.mark.parametrize("field", ["message", "step", "host", "seen", "next"])
def test_no_part_of_an_error_can_be_changed_after_it_was_made(field: str) -> None:
    error = PpmctlError("it failed")

    with pytest.raises(AttributeError):
        setattr(error, field, "something else")


def test_context_makes_a_new_error_of_the_same_kind_whose_text_is_its_message() -> None:
    error = HostUnreachable("no connection", host="web-1", seen="refused", next="ppmctl doctor")
    more = error.with_context(f"{error.message}. Release 1 serves", step="ship", next="ppmctl deploy")

    assert type(more) is HostUnreachable
    assert (str(error), error.step) == ("no connection", None)
    assert str(more) == more.message == "no connection. Release 1 serves"
    assert (more.step, more.host, more.seen, more.next) == ("ship", "web-1", "refused", "ppmctl doctor")


def test_context_says_what_to_do_where_the_error_does_not() -> None:
    assert PpmctlError("no").with_context("no, again", next="ppmctl deploy").next == "ppmctl deploy"
