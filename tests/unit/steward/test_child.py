"""Commands of the steward beside the process that asked for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ppmkit.steward.child import beside
from ppmkit.steward.errors import Damaged, StewardError
from tests.support.database import make
from tests.support.processes import running
from tests.support.waiting import eventually

ASKING = """
import sys
from ppmkit.steward.child import beside
with beside("--on-signal", "schema", sys.argv[1]) as answer:
    answer()
"""


def test_its_answer_is_what_the_command_says(tmp_path: Path) -> None:
    with beside("verify", str(make(tmp_path / "ppm.db", rows=7))) as answer:
        assert answer()["rows"] == {"names": 1, "pairs": 7, "twins": 0}


def test_what_it_fails_with_is_raised_as_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "none.db").write_bytes(b"not a database" * 500)

    with pytest.raises(Damaged, match=r"^none\.db is damaged: "), beside("verify", str(tmp_path / "none.db")) as answer:
        answer()
    with pytest.raises(StewardError, match=r"^there is no "), beside("verify", str(tmp_path / "ppm.db")) as answer:
        answer()


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", ASKING, str(make(tmp_path / "ppm.db", rows=7))]
    with running(argv) as asking:
        children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
        try:
            assert eventually(lambda: any(waits(child) for child in children.read_text().split()))
            [child] = children.read_text().split()
        finally:
            asking.kill()

    assert eventually(lambda: not runs(child))


def waits(process: str) -> bool:
    """Return whether a process has loaded all and waits for its signal."""
    return "sigtimedwait" in Path(f"/proc/{process}/wchan").read_text()


def runs(process: str) -> bool:
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()
