"""Commands of the steward beside the process that asked for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.backup.steward.beside import beside
from deploy.backup.steward.errors import Damaged, StewardError
from tests.unit.backup.database import make


def test_its_answer_is_what_the_command_says(tmp_path: Path) -> None:
    with beside("verify", str(make(tmp_path / "ppm.db", rows=7))) as answer:
        assert answer()["rows"] == {"names": 1, "pairs": 7, "twins": 0}


def test_what_it_fails_with_is_raised_as_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "none.db").write_bytes(b"not a database" * 500)

    with pytest.raises(Damaged, match=r"^none\.db is damaged: "), beside("verify", str(tmp_path / "none.db")) as answer:
        answer()
    with pytest.raises(StewardError, match=r"^there is no "), beside("verify", str(tmp_path / "ppm.db")) as answer:
        answer()
