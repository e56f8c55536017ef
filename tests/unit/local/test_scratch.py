"""Directories for the time of some work: they go with it, and those of who was killed with the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ppmkit.local.scratch import scratch
from ppmkit.paths import KIT
from tests.support.processes import running

HOLD = """
import sys; from ppmkit.local.scratch import scratch
with scratch() as path: print(path, flush=True); sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place for temporary files, of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_of_its_owner_alone_and_goes_with_the_work(folder: Path) -> None:
    with scratch() as path:
        (path / "sub").mkdir()
        assert path.stat().st_mode & 0o777 == 0o700

    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_is_in_use_stays(folder: Path) -> None:
    with (
        scratch() as ours,
        running(
            [sys.executable, "-c", HOLD],
            env={**os.environ, "TMPDIR": str(folder)},
            cwd=KIT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other,
    ):
        assert other.stdout
        theirs = Path(other.stdout.readline().strip())
        with scratch():
            assert ours.is_dir()
            assert theirs.is_dir()
        other.kill()
        other.wait(20)
        assert theirs.is_dir()

        with scratch():
            assert ours.is_dir()
            assert not theirs.exists()


def test_a_name_that_leads_elsewhere_is_left_alone(folder: Path) -> None:
    (folder / "kept").mkdir()
    (folder / "ppmctl-run-x").symlink_to(folder / "kept")

    with scratch():
        assert (folder / "kept").is_dir()
