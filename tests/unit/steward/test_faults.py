"""A backup, and the swap of a restore, hit at each system call that they make: by a kill, a full disk, a failing one.

A few of the calls each time; every one with `--full`.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from ppmkit.errors import ContainerFailed, DatabaseDamaged
from ppmkit.orchestrator.oneoff import failure
from ppmkit.paths import KIT
from ppmkit.steward import backup, catalog, verify
from ppmkit.steward.files import fingerprint
from ppmkit.steward.sqlite import snapshot
from ppmkit.steward.sqlite.digest import digests
from tests.support import faults
from tests.support.database import make, writer
from tests.support.faults import Fault, calls, errors, kills, struck
from tests.support.waiting import eventually

Kind = Callable[[Sequence[tuple[str, int]]], list[Fault]]
SAMPLE = 12
KILLED = -signal.SIGKILL
BACKUP = (
    "import sys; from pathlib import Path; from ppmkit.steward import backup\n"
    "backup.create(Path(sys.argv[1]), Path(sys.argv[2]), backup.Options())"
)
TAKE = (
    "import sys; from pathlib import Path; from ppmkit.steward.sqlite.swap import take\n"
    "take(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])"
)
pytestmark = pytest.mark.skipif(faults.unavailable() is not None, reason=str(faults.unavailable()))


def held(database: Path) -> dict[str, Any]:
    with closing(apsw.Connection(str(database))) as connection:
        return dict(digests(connection))


def some(found: list[Fault], most: int = SAMPLE) -> list[Fault]:
    """Return so many of them, from the first to the last."""
    step = max(1, len(found) // most)
    return found[::step]


Choose = Callable[[list[Fault]], list[Fault]]
KINDS = pytest.mark.parametrize("kind", [kills, errors])
CHOSEN = pytest.mark.parametrize(
    "choose",
    [pytest.param(some, id="some"), pytest.param(list, id="any", marks=[pytest.mark.full, pytest.mark.timeout(1800)])],
)


@KINDS
@CHOSEN
def test_a_backup_that_is_hit_is_a_whole_one_or_none_and_the_next_is_made(
    tmp_path: Path, choose: Choose, kind: Kind
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    database, backups = make(here / "ppm.db", rows=60), here / "backups"
    before = held(database)
    found = calls(BACKUP, str(database), str(backups), about=here, log=tmp_path / "log")
    for fault in choose(kind(found)):
        shutil.rmtree(backups)
        done = struck(fault, BACKUP, str(database), str(backups))
        made = catalog.catalog(backups) if backups.exists() else []
        assert done.returncode != 0 or len(made) == 1, f"{fault}: it says that it has made one"
        assert done.returncode in (0, KILLED) or made == [], f"{fault}: it has failed, and there is one"
        assert [verify.prove(each, [], backups)["outcome"] for each in made] == ["ok"] * len(made), str(fault)
        assert held(database) == before, str(fault)
        backup.create(database, backups, backup.Options())
        whole = catalog.catalog(backups)
        assert len(whole) == len(made) + 1, str(fault)
        assert {each.name for each in backups.iterdir() if each.is_dir()} == {each.id for each in whole}, str(fault)


def swap_of(here: Path) -> tuple[Path, Path]:
    """Make a database with a -wal that a killed process left, and a verified copy from before; return both."""
    here.mkdir()
    database, staged = make(here / "ppm.db", rows=60), here / "restore" / "staged.db"
    snapshot.snapshot(database, staged, 30)
    with writer(database) as process:
        assert eventually(lambda: database.with_name("ppm.db-wal").stat().st_size > 100_000)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    return database, staged


@KINDS
@CHOSEN
def test_a_swap_that_is_hit_leaves_the_old_or_the_new_database_whole(
    tmp_path: Path, choose: Choose, kind: Kind
) -> None:
    here, before = tmp_path / "here", tmp_path / "before"
    database, staged = swap_of(here)
    shutil.copytree(here, before)
    argv = (str(staged), str(database), fingerprint(staged))
    old, new = held(database), held(staged)

    def again() -> None:
        shutil.rmtree(here)
        shutil.copytree(before, here)

    again()
    found = calls(TAKE, *argv, about=here, log=tmp_path / "log")
    for fault in choose(kind(found)):
        again()
        done = struck(fault, TAKE, *argv)
        there = held(database)  # what a killed one has begun to fold in, SQLite folds in here
        snapshot.sound(database)
        if done.returncode == KILLED:
            assert there in (old, new), str(fault)
        else:
            assert there == (old if done.returncode else new), f"{fault}: it ended with {done.returncode}"


STEWARD = (
    "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); del sys.argv[1]\n"
    "from ppmkit.steward.__main__ import main; sys.exit(main())"
)
WRITES = [Fault(call, 1, f"error={error}", "+") for call in ("pwrite64", "fsync") for error in ("ENOSPC", "EIO")]


def told(fault: Fault, *argv: str) -> ContainerFailed:
    """Return what ppmctl makes of a command of the steward that a fault has stopped."""
    done = struck(fault, STEWARD, str(KIT), *argv)
    assert done.returncode != 0, done.stderr
    return failure("host", "steward", "it", done.returncode, done.stderr)


@pytest.mark.parametrize("fault", WRITES, ids=str)
def test_a_copy_that_cannot_be_written_is_not_taken_for_a_damaged_database(tmp_path: Path, fault: Fault) -> None:
    database = make(tmp_path / "ppm.db", rows=60)

    failed = told(fault, "snapshot", str(database), str(tmp_path / "copy.db"), "--deadline", "30")

    assert not isinstance(failed, DatabaseDamaged), failed.seen
    assert held(database)["pairs"]["rows"] == 60
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("command", ["snapshot", "since"])
def test_a_disk_that_does_not_give_back_the_database_is_damage(tmp_path: Path, command: str) -> None:
    database, copy = make(tmp_path / "ppm.db", rows=600), tmp_path / "copy.db"
    snapshot.snapshot(database, copy, 30)
    argv = (str(database), str(tmp_path / "again.db"), "--deadline", "30")
    wanted = (command, *(argv if command == "snapshot" else (str(copy), str(database))))

    failed = told(Fault("pread64", 60, "error=EIO", "+"), *wanted)

    assert isinstance(failed, DatabaseDamaged), failed.seen
    assert "ppm.db is damaged" in (failed.seen or "")
