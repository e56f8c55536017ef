"""The steward on real SQLite files, with another process that writes."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from ppmkit.steward import catalog, files, verify
from ppmkit.steward.errors import StewardError
from ppmkit.steward.exit_codes import DAMAGED
from ppmkit.steward.sqlite import row_diff, snapshot, swap
from ppmkit.steward.sqlite.pages import freshen
from tests.support.database import execute, make, steward, told, writer
from tests.support.processes import join
from tests.support.waiting import eventually


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make(tmp_path / "ppm.db")


def test_a_snapshot_under_writes_is_one_state_of_the_database(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "one.db"
    with writer(database):
        done = snapshot.snapshot(database, copy, 30)

    assert done["rows"]["twins"] == done["rows"]["pairs"] - 8000, "the copy holds half a transaction"
    assert snapshot.rows(snapshot.verify(copy)) == done["rows"]
    assert done["bytes"] == copy.stat().st_size
    assert [path.name for path in copy.parent.iterdir()] == ["one.db"]


def test_a_snapshot_that_takes_too_long_leaves_nothing(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "one.db"

    with pytest.raises(StewardError, match="did not finish within 0 s"):
        snapshot.snapshot(database, copy, 0)

    assert list(copy.parent.iterdir()) == []


def test_a_snapshot_does_not_fill_the_disk(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RESERVE", 1 << 60)

    with pytest.raises(StewardError, match="the disk is too full for a copy"):
        snapshot.snapshot(database, tmp_path / "copies" / "one.db", 30)

    assert list((tmp_path / "copies").iterdir()) == []


def test_a_copy_that_is_damaged_is_no_copy(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "one.db"
    snapshot.snapshot(database, copy, 30)
    with copy.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xff" * 8192)

    done = steward("verify", str(copy))

    assert (done.returncode, done.stdout) == (DAMAGED, "")
    assert done.stderr.startswith("steward: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_copy_is_brought_up_to_date_by_the_pages_that_differ(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "one.db"
    snapshot.snapshot(database, copy, 30)
    execute(database, "INSERT INTO twins VALUES (7); UPDATE names SET name = 'b'")

    done = freshen(database, copy)

    assert copy.read_bytes() == database.read_bytes()
    assert execute(copy, "SELECT * FROM names") == [("b",)]
    assert done["written"] <= 2 << 20 < done["bytes"]


def test_a_copy_follows_a_database_that_became_smaller(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "one.db"
    snapshot.snapshot(database, copy, 30)
    execute(database, "DELETE FROM pairs")
    execute(database, "VACUUM")

    freshen(database, copy)

    assert copy.read_bytes() == database.read_bytes()


def test_a_copy_is_not_brought_up_to_date_while_somebody_writes(database: Path, tmp_path: Path) -> None:
    with closing(apsw.Connection(str(database))) as busy:
        busy.execute("BEGIN IMMEDIATE")
        with pytest.raises(StewardError, match="another process still writes"):
            freshen(database, tmp_path / "one.db")

    assert not (tmp_path / "one.db").exists()


def test_a_restore_is_not_undone_by_a_wal_that_a_killed_process_left(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "one.db"
    snapshot.snapshot(database, copy, 30)
    # A process that was killed leaves a -wal behind, with commits that are in no other file.
    with writer(database) as process:
        assert eventually(lambda: database.with_name("ppm.db-wal").stat().st_size > 100_000)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert database.with_name("ppm.db-wal").stat().st_size > 0

    done = swap.restore(copy, database)

    assert execute(database, "SELECT count(*) FROM twins") == [(0,)]
    assert done["rows"]["pairs"] == 8000
    assert copy.exists()


def test_a_restore_waits_for_whoever_looks_at_the_database(database: Path, tmp_path: Path) -> None:
    import fcntl

    copy = tmp_path / "one.db"
    snapshot.snapshot(database, copy, 30)
    done = threading.Event()
    restoring = threading.Thread(target=lambda: swap.restore(copy, database) and done.set())
    with (tmp_path / "ppm.db.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        restoring.start()
        assert not done.wait(0.3)

    assert done.wait(10)
    join(restoring)


def test_a_damaged_copy_is_not_restored(database: Path, tmp_path: Path) -> None:
    (tmp_path / "one.db").write_bytes(b"SQLite format 3\0" + b"\0" * 4080)

    with pytest.raises((StewardError, apsw.Error)):
        swap.restore(tmp_path / "one.db", database)

    assert execute(database, "SELECT name FROM names") == [("a",)]


def test_what_was_written_since_a_copy_is_counted_by_table(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "one.db"
    snapshot.snapshot(database, copy, 30)
    assert row_diff.since(copy, database) == {}

    execute(database, "INSERT INTO twins VALUES (1), (2); UPDATE names SET name = 'b'; UPDATE pairs SET filling = ''")
    execute(database, "CREATE TABLE fresh (id INTEGER); INSERT INTO fresh VALUES (1)")
    execute(database, "ALTER TABLE pairs ADD COLUMN more TEXT; INSERT INTO pairs VALUES (1, 2, 3)")

    assert row_diff.since(copy, database) == {"fresh": 1, "names": 1, "pairs": 1, "twins": 2}


def test_the_command_prints_one_document(database: Path, tmp_path: Path) -> None:
    done = steward("snapshot", str(database), str(tmp_path / "one.db"), "--deadline", "30")

    assert json.loads(done.stdout)["rows"] == {"names": 1, "pairs": 8000, "twins": 0}
    assert steward("remove", str(tmp_path / "one.db")).returncode == 0
    assert not (tmp_path / "one.db").exists()


def test_a_snapshot_of_before_a_migration_becomes_a_backup_of_the_moment_that_it_holds(
    database: Path, tmp_path: Path
) -> None:
    folder, backups = tmp_path / "snapshots", tmp_path / "backups"
    (folder / "old.db").parent.mkdir()
    (folder / "old.db").write_bytes(b"of the migration before")
    snapshot.snapshot(database, folder / "new.db", 30)
    at = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
    os.utime(folder / "new.db", (at, at))
    command = ("file-copy", str(folder / "new.db"), "--kind", "migration", "--seconds", "2.5")

    kept, again = (json.loads(steward(*command, "--leave", settings=told(database, backups)).stdout) for _ in range(2))
    assert [path.name for path in folder.iterdir()] == ["new.db"], "the one that a rollback may need"
    steward(*command, settings=told(database, backups))

    assert (kept["id"], kept["kind"], kept["level"]) == ("20260301T115957500", "migration", "L3")
    assert again["id"] == kept["id"], "who was killed before it could say so says it once more"
    assert list(folder.iterdir()) == []
    [found] = catalog.catalog(backups)
    assert found.created == datetime(2026, 3, 1, 11, 59, 57, 500000, UTC)
    assert verify.prove(found, [], backups)["outcome"] == "ok"
