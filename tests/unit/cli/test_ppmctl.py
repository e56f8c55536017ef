"""The command line as a whole, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppmkit.paths import KIT

Done = subprocess.CompletedProcess[str]
SITE = "url: http://localhost:8101\nhosts:\n  - {name: one, address: 127.0.0.1}\n"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """The inventory that `ppmctl` reads, with one site."""
    (tmp_path / "site.yaml").write_text(SITE, encoding="utf-8")
    return tmp_path


def ppmctl(inventory: Path, *argv: str, **variables: str) -> Done:
    return subprocess.run(
        [sys.executable, KIT / "ppmctl.py", *argv],
        env={**os.environ, "PPMCTL_INVENTORY": str(inventory), **variables},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_a_command_that_was_asked_for_json_reports_an_error_in_it(inventory: Path) -> None:
    done = ppmctl(inventory, "status", "-e", "sit", "--json")

    assert done.returncode == 2
    assert "did you mean site?" in json.loads(done.stdout)["error"]


def test_json_that_another_program_is_asked_for_is_not_ours(inventory: Path) -> None:
    done = ppmctl(inventory, "exec", "api", "-e", "sit", "--", "ls", "--json")

    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean site?" in done.stderr


def test_an_ascii_locale_changes_neither_what_is_read_nor_whether_it_can_be_shown(inventory: Path) -> None:
    (inventory / "site.yaml").write_text(f"# größe\n{SITE}app: {{oauth_client_id: größe}}\n", encoding="utf-8")
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = ppmctl(inventory, "config", "show", "-e", "site", **ascii_locale)
    assert (done.returncode, done.stderr) == (0, "")
    assert "oauth_client_id: gr\\xf6\\xdfe" in done.stdout
