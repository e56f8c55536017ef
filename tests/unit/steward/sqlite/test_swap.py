"""Putting a copy in the place of a real database, whatever is there, and whatever has it open."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from ppmkit.steward.errors import Damaged, StewardError
from ppmkit.steward.files import fingerprint
from ppmkit.steward.sqlite import snapshot, swap
from ppmkit.steward.sqlite.locks import alone
from ppmkit.steward.sqlite.row_diff import since
from ppmkit.steward.sqlite.swap import drop, keep, take
from tests.support.database import execute, killed_at_each, make, steward, writer
from tests.support.waiting import eventually

IDLE = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("SELECT count(*) FROM twins").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make(tmp_path / "ppm.db", rows=2000)


@pytest.fixture
def staged(database: Path, tmp_path: Path) -> Path:
    """A verified copy, without the twin that came later."""
    copy = tmp_path / "restore" / "staged.db"
    snapshot.snapshot(database, copy, 30)
    execute(database, "INSERT INTO twins VALUES (1)")
    return copy


@contextmanager
def idle(database: Path) -> Iterator[int]:
    """Have the database open in another process that does nothing with it; yield its number."""
    process = subprocess.Popen(
        [sys.executable, "-c", IDLE, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    try:
        yield process.pid
    finally:
        process.communicate("", timeout=20)


def twins(database: Path) -> object:
    return execute(database, "SELECT count(*) FROM twins")[0][0]


def leave_a_wal(database: Path) -> None:
    """Kill a process that writes: it leaves a -wal with commits that are in no other file."""
    with writer(database) as process:
        assert eventually(lambda: database.with_name(f"{database.name}-wal").stat().st_size > 100_000)
        process.send_signal(signal.SIGKILL)
        process.wait(20)


def test_a_staged_copy_takes_the_place_of_the_database(database: Path, staged: Path) -> None:
    wanted = fingerprint(staged)

    done = take(staged, database, wanted)

    assert twins(database) == 0
    assert fingerprint(database) == wanted
    assert done["bytes"] == database.stat().st_size
    assert not staged.exists()
    assert sorted(path.name for path in database.parent.glob("ppm.db*")) == ["ppm.db", "ppm.db.migrating"]


def test_a_wal_of_the_same_lineage_does_not_undo_a_restore(database: Path, staged: Path) -> None:
    leave_a_wal(database)
    wanted = snapshot.verify(staged)

    take(staged, database, fingerprint(staged))

    assert snapshot.verify(database) == wanted
    assert twins(database) == 0


@pytest.mark.parametrize("there", [True, False], ids=["beside another database", "beside nothing"])
def test_a_wal_of_another_lineage_does_not_get_into_a_restore(
    database: Path, staged: Path, tmp_path: Path, there: bool
) -> None:
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other" / "ppm.db", rows=500)
    leave_a_wal(other)
    execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        shutil.copyfile(f"{other}{suffix}", f"{database}{suffix}")
    if not there:
        database.unlink()
    wanted = snapshot.verify(staged)

    take(staged, database, fingerprint(staged))

    assert snapshot.verify(database) == wanted
    assert twins(database) == 0


def test_a_process_that_has_the_database_open_is_named_and_nothing_is_changed(database: Path, staged: Path) -> None:
    with idle(database) as pid, pytest.raises(StewardError, match=f"process {pid} has ppm.db open"):
        take(staged, database, fingerprint(staged))

    assert twins(database) == 1
    assert staged.exists()


def test_a_process_that_writes_is_in_the_way(database: Path, staged: Path) -> None:
    with writer(database), pytest.raises(StewardError, match=r"still writes|has ppm.db open"):
        take(staged, database, fingerprint(staged))

    assert staged.exists()


def test_a_copy_that_is_not_the_one_that_was_verified_does_not_stay(database: Path, staged: Path) -> None:
    wanted = fingerprint(staged)
    execute(staged, "INSERT INTO twins VALUES (5), (6)")

    with pytest.raises(StewardError, match="is not the copy that was verified"):
        take(staged, database, wanted)

    assert twins(database) == 1, "the old database is back"


def test_a_copy_that_is_touched_once_it_was_verified_does_not_take_the_place(database: Path, staged: Path) -> None:
    act = swap.taking(staged, database, fingerprint(staged))
    with staged.open("r+b") as file:
        file.write(b"SQLite format 3")  # what stands there: not one byte differs, but somebody has written

    with pytest.raises(StewardError, match=r"staged\.db was changed after it was verified"):
        act()

    assert twins(database) == 1
    assert staged.exists()


def test_what_the_database_was_is_kept_when_another_takes_its_place(
    database: Path, staged: Path, tmp_path: Path
) -> None:
    leave_a_wal(database)
    kept = tmp_path / "snapshots" / "kept.db"
    before = twins(database)

    keep(database, kept)
    take(staged, database, fingerprint(staged))

    assert (twins(database), twins(kept)) == (0, before)
    snapshot.sound(kept)
    assert drop(database, kept) == {"dropped": False}
    assert kept.exists(), "there is nothing else of it"


def test_a_database_that_nothing_has_replaced_has_one_name_again(database: Path, tmp_path: Path) -> None:
    kept = tmp_path / "snapshots" / "kept.db"
    keep(database, kept)
    keep(database, kept)  # another try

    assert drop(database, kept) == {"dropped": True}

    assert not kept.exists()
    assert twins(database) == 0
    assert drop(database, kept) == {"dropped": False}


def test_a_database_that_somebody_writes_to_is_not_kept(database: Path, tmp_path: Path) -> None:
    with writer(database), pytest.raises(StewardError, match=r"still writes|has ppm\.db open"):
        keep(database, tmp_path / "kept.db")

    assert not (tmp_path / "kept.db").exists()


@pytest.mark.parametrize("damage", [b"\xff" * 200, b"not a database at all" * 500])
def test_what_is_too_damaged_to_be_read_is_kept_as_it_is(
    database: Path, staged: Path, tmp_path: Path, damage: bytes
) -> None:
    execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.write(damage)
    before = database.read_bytes()

    keep(database, tmp_path / "kept.db")
    take(staged, database, fingerprint(staged))

    assert twins(database) == 0
    assert (tmp_path / "kept.db").read_bytes() == before
    assert (tmp_path / "ppm.db.damaged").read_bytes() == before


def test_a_wal_that_others_have_lost_is_damage(database: Path, staged: Path) -> None:
    with closing(apsw.Connection(str(database))) as other:
        other.execute("INSERT INTO twins VALUES (2)")
        database.with_name("ppm.db-wal").unlink()
        for act in (lambda: since(staged, database), lambda: snapshot.snapshot(database, staged.with_name("b"), 30)):
            with pytest.raises(Damaged, match=r"ppm\.db is damaged: (disk I/O error|its -wal holds)"):
                act()


def test_a_database_that_cannot_be_written_to_is_not_replaced_as_a_damaged_one(database: Path, staged: Path) -> None:
    leave_a_wal(database)
    limited = (
        "from pathlib import Path; from ppmkit.steward.sqlite.swap import take; import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "take(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])"
    )
    argv = [sys.executable, "-c", limited, str(staged), str(database), fingerprint(staged)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "disk I/O error" in done.stderr
    assert list(database.parent.glob("*.damaged*")) == []
    assert staged.exists()
    assert twins(database) != 0


@pytest.mark.parametrize(
    "call", ["Path.replace", "Path.unlink", "os.link", "os.fsync", "ppmkit.steward.sqlite.swap.fingerprint"]
)
def test_a_restore_that_is_killed_leaves_the_old_or_the_new_database_whole(
    database: Path, staged: Path, tmp_path: Path, call: str
) -> None:
    leave_a_wal(database)
    before = tmp_path.with_name(f"{tmp_path.name}-before")
    shutil.copytree(tmp_path, before)
    both = {twins(database), twins(staged)}
    script = (
        "from pathlib import Path; from ppmkit.steward.sqlite.swap import take\n"
        "take(Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])"
    )

    for _ in killed_at_each(call, script, str(staged), str(database), fingerprint(staged)):
        assert twins(database) in both
        snapshot.sound(database)
        shutil.rmtree(tmp_path)
        shutil.copytree(before, tmp_path)
    shutil.rmtree(before)


def test_whoever_holds_the_lock_already_need_not_wait_for_it(database: Path, staged: Path) -> None:
    with alone(database):
        assert swap.take(staged, database, fingerprint(staged))["bytes"] > 0


def test_the_command_keeps_others_out_until_it_is_done(database: Path, staged: Path) -> None:
    done = steward("--alone", str(database), "take", str(staged), str(database), fingerprint(staged))

    assert done.returncode == 0, done.stderr
    assert twins(database) == 0
