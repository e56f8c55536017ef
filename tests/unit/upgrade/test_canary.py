"""What may follow `--canary`."""

from __future__ import annotations

import pytest

from ppmkit.errors import UsageError
from ppmkit.upgrade.canary import shares


@pytest.mark.parametrize(
    ("text", "found"), [("5,25,100", (5, 25, 100)), ("5,25", (5, 25, 100)), ("100", (100,)), ("1", (1, 100))]
)
def test_shares_ascend_to_all_users(text: str, found: tuple[int, ...]) -> None:
    assert shares(text) == found


@pytest.mark.parametrize(
    "text", ["", "5,", "0", "0,5", "101", "5,5", "25,5", "5;25", "5 25", "5, 25", "5%", "-5", "+5", "05", "5.5", "٥"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="not a list of shares") as raised:
        shares(text)

    assert raised.value.exit_code == 2
    assert "--canary 5,25,100" in str(raised.value.next)
