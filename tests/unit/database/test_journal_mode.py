"""Whether a database is in WAL mode, as its file says."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from ppmkit.database import journal_mode
from ppmkit.errors import PreflightError
from tests.unit.conftest import environment_of

ENGINE = """#!/bin/sh
case "$1" in
    ps) echo 0123456789ab ;;
    exec) shift 2; exec "$@" ;;
esac
"""
"""In the place of `docker`: a steward that runs, on this machine."""


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """A host on this machine, with its database in a folder of the test."""
    program = tmp_path / "docker"
    program.write_text(ENGINE)
    program.chmod(0o755)
    environment = environment_of(app={"database_url": f"sqlite:///{tmp_path}/ppm.db"})

    def run(argv: list[str], **_: Any) -> Any:
        paths = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(argv, env=paths, capture_output=True, text=True, check=False)

    return SimpleNamespace(name="web-1", environment=environment, run=run, file=tmp_path / "ppm.db")


def make(file: Path, mode: str) -> None:
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}; CREATE TABLE t (a)").fetchall()


@pytest.mark.parametrize(
    ("mode", "found"), [("wal", "WAL"), ("delete", "rollback"), ("truncate", "rollback"), ("persist", "rollback")]
)
def test_the_header_tells(host: Any, mode: str, found: str) -> None:
    make(host.file, mode)

    assert journal_mode.read(host) == found


@pytest.mark.parametrize("content", [None, b"", b"no database, but more than twenty bytes of something"])
def test_what_is_no_database_is_not_judged(host: Any, content: bytes | None) -> None:
    if content is not None:
        host.file.write_bytes(content)

    assert journal_mode.read(host) is None
    journal_mode.refuse_unless_wal(host)


def test_one_that_writers_cannot_write_to_while_it_is_read_is_refused_with_what_to_run(host: Any) -> None:
    make(host.file, "delete")

    with pytest.raises(PreflightError, match="not in WAL mode, so writers would fail") as raised:
        journal_mode.refuse_unless_wal(host)

    _, _, command = str(raised.value.next).partition(' -- python -c "')
    exec(command.removesuffix('"'), {})  # noqa: S102 - the very command that the error names
    assert journal_mode.read(host) == "WAL"
    journal_mode.refuse_unless_wal(host)
