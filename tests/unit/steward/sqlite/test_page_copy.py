"""A copy by the file, made while others write and fold the -wal in: it is what the pinned transaction sees, always."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppmkit.steward.errors import Damaged
from ppmkit.steward.sqlite import page_copy as module
from ppmkit.steward.sqlite.digest import digests
from ppmkit.steward.sqlite.page_copy import Pinned, pinned
from ppmkit.steward.sqlite.snapshot import sound, verify
from ppmkit.steward.throttle import Pace
from tests.support.database import execute, make
from tests.support.processes import running

SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
Act = Callable[[apsw.Connection, apsw.Connection], None]


class Between(Pace):
    """Lets others do one thing after another, one between two blocks of the copy."""

    def __init__(self, acts: Sequence[Callable[[], object]]) -> None:
        self._acts = iter(acts)

    def keep(self, done: int = 0) -> None:  # noqa: ARG002
        for act in itertools.islice(self._acts, 1):
            act()


@contextmanager
def small_steps(size: int = 512) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", size)
        patch.setattr(module, "_STEP", size)
        yield


def create(path: Path, page_size: int, mode: str = "WAL") -> apsw.Connection:
    """Make a database, and return a connection that checkpoints only when it is told to, and spills a lot."""
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA page_size={page_size}; PRAGMA journal_mode={mode}; PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA cache_size=1; PRAGMA synchronous=OFF; PRAGMA auto_vacuum=NONE")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE INDEX i ON t (a)")
    connection.execute("INSERT INTO t (a) VALUES (hex(randomblob(600))), (hex(randomblob(9000)))")
    return connection


def pages(database: apsw.Connection | Path, size: int, folder: Path) -> list[bytes]:
    """Return the pages of a copy, or those that a transaction sees as SQLite's own backup takes them.

    Without what SQLite counts at the beginning of a file: its backup goes on counting.
    """
    if isinstance(database, Path):
        content = database.read_bytes()
    else:
        other = folder / "own.db"
        with closing(apsw.Connection(str(other))) as copied, copied.backup("main", database, "main") as backup:
            backup.step(-1)
        content = other.read_bytes()
        other.unlink()
    found = [content[at : at + size] for at in range(0, len(content), size)]
    return [found[0][100:], *found[1:]]


def compare(live: Pinned, copy: Path, size: int) -> None:
    """See that a copy is what the transaction sees, page by page and row by row."""
    assert pages(copy, size, copy.parent) == pages(live.connection, size, copy.parent)
    assert verify(copy) == digests(live.connection)
    assert [path.name for path in copy.parent.glob("copy.db*")] == ["copy.db"]


WRITES = st.sampled_from(
    [
        "INSERT INTO t (a) VALUES (hex(randomblob(300)))",
        "INSERT INTO t (a) SELECT hex(randomblob(700)) FROM t LIMIT 8",
        "UPDATE t SET a = hex(randomblob(200)) WHERE id % 3 = 0",
        "DELETE FROM t WHERE id % 2",
        "BEGIN; INSERT INTO t (a) VALUES (hex(randomblob(40000))); ROLLBACK",
        "BEGIN; UPDATE t SET a = hex(randomblob(999)); UPDATE t SET a = hex(randomblob(99)); COMMIT",
        "VACUUM",
    ]
)
FOLDS = st.sampled_from(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]).map(lambda how: f"PRAGMA wal_checkpoint({how})")
ACTS = st.lists(st.one_of(WRITES, FOLDS), max_size=25)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(page_size=st.sampled_from(SIZES), before=ACTS, meanwhile=ACTS)
def test_whatever_others_do_the_copy_is_what_the_transaction_sees(
    page_size: int, before: list[str], meanwhile: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as scratch, small_steps():
        folder = Path(scratch)
        database = folder / "ppm.db"
        with closing(create(database, page_size)) as other:
            for sql in before:
                other.execute(sql).fetchall()
            with pinned(database) as live:
                acts = [lambda sql=sql: other.execute(sql).fetchall() for sql in meanwhile]
                live.copy(folder / "copy.db", Between(acts))
                compare(live, folder / "copy.db", page_size)


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST"])
def test_a_database_in_another_mode_can_be_copied(tmp_path: Path, mode: str) -> None:
    with closing(create(tmp_path / "ppm.db", 4096, mode)), pinned(tmp_path / "ppm.db") as live:
        live.copy(tmp_path / "copy.db", Between([]))
        compare(live, tmp_path / "copy.db", 4096)


@pytest.mark.parametrize("page_size", SIZES)
def test_a_wal_that_is_begun_anew_meanwhile_is_none_of_the_copy(tmp_path: Path, page_size: int) -> None:
    database, copy = tmp_path / "ppm.db", tmp_path / "copy.db"
    with closing(create(database, page_size)) as other, small_steps():
        other.execute("PRAGMA wal_checkpoint(FULL)").fetchall()  # all is in the file, and the -wal stays as it is
        salts = database.with_name("ppm.db-wal").read_bytes()[16:24]
        insert = "INSERT INTO t (a) VALUES (hex(randomblob(300)))"
        with pinned(database) as live:
            live.copy(copy, Between([lambda: other.execute(insert)]))
            compare(live, copy, page_size)
        assert database.with_name("ppm.db-wal").read_bytes()[16:24] != salts, "it was not restarted"
        assert execute(copy, "SELECT count(*) FROM t") == [(2,)]


OTHER = """
import apsw, random, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(10_000)
connection.execute("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=" + sys.argv[2])
print("at work", flush=True)
while True:
    if sys.argv[2] == "0":
        connection.execute("PRAGMA busy_timeout=5").fetchall()
        how = random.choice(["PASSIVE", "PASSIVE", "FULL", "RESTART", "TRUNCATE"])
        try:
            connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
        except apsw.BusyError:
            pass
    else:
        with connection:
            connection.execute("INSERT INTO ledger SELECT coalesce(max(n), 0) + 1, hex(randomblob(200)) FROM ledger")
            connection.execute("UPDATE total SET n = n + 1, noise = hex(randomblob(random() & 4095))")
"""


@contextmanager
def at_work(database: Path, autocheckpoint: int) -> Iterator[None]:
    """Write to the database, or fold its -wal in, in another process, for as long as the block lasts."""
    argv = [sys.executable, "-c", OTHER, str(database), str(autocheckpoint)]
    with running(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_copies_beside_a_writer_and_one_that_folds_in_are_states_that_were_committed(
    tmp_path: Path, page_size: int
) -> None:
    database, copy, last = tmp_path / "ppm.db", tmp_path / "copy.db", 0
    with closing(create(database, page_size)) as connection:
        connection.execute("CREATE TABLE ledger (n INTEGER PRIMARY KEY, filling); CREATE TABLE total (n, noise)")
        connection.execute("INSERT INTO total VALUES (0, '')")
    with at_work(database, 20), at_work(database, 0), small_steps(16384):
        for _ in range(40):
            with pinned(database) as live:
                live.copy(copy, Pace(database, 60))
                held = digests(live.connection)
            assert verify(copy) == held
            sums = "SELECT (SELECT n FROM total), (SELECT count(*) FROM ledger), (SELECT max(n) FROM ledger)"
            [(total, count, highest)] = execute(copy, sums)
            assert total == count == (highest or 0) >= last, "it is no prefix of what was committed"
            last = int(str(total))
            copy.unlink()
    assert last > 0, "nobody has written"


def test_a_wal_that_is_cut_off_is_damage(tmp_path: Path) -> None:
    database = make(tmp_path / "ppm.db", rows=2)
    with closing(apsw.Connection(str(database))) as other:
        other.execute("INSERT INTO twins VALUES (2)")
        with pinned(database) as live:
            wal = database.with_name("ppm.db-wal")
            with wal.open("r+b") as file:
                file.truncate(wal.stat().st_size - 100)
            with pytest.raises(Damaged, match=r"ppm\.db is damaged: its -wal holds 0 whole frames of"):
                live.copy(tmp_path / "copy.db", Pace(database, 60))


def test_a_copy_of_a_sound_database_is_sound(tmp_path: Path) -> None:
    database = make(tmp_path / "ppm.db", rows=20_000)
    with pinned(database) as live:
        live.copy(tmp_path / "copy.db", Pace(database, 60))
    sound(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == database.read_bytes()
