"""Backups of real SQLite files: made while another process writes, verified, and damaged in every way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pyrage
import pytest

from ppmkit.steward import archive, backup, catalog, files, verify
from ppmkit.steward.errors import StewardError
from ppmkit.steward.sqlite import snapshot
from ppmkit.steward.sqlite.digest import digests
from tests.support.database import execute, killed_at_each, make, steward, told, writer

KEY = pyrage.x25519.Identity.generate()
OPTIONS = backup.Options(recipients=(str(KEY.to_public()),), deadline=60)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make(tmp_path / "ppm.db")


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def held(database: Path) -> dict[str, Any]:
    with closing(apsw.Connection(str(database))) as connection:
        return dict(digests(connection))


def prove(backups: Path, *keys: Any) -> list[tuple[str, str]]:
    """Verify every backup; return how far and what came of it."""
    found = [verify.prove(each, keys or [KEY], backups) for each in catalog.catalog(backups)]
    return [(evidence["level"], evidence["outcome"]) for evidence in found]


def test_a_backup_under_writes_is_one_state_of_the_database(database: Path, backups: Path, tmp_path: Path) -> None:
    with writer(database):
        done = backup.create(database, backups, OPTIONS)

    [made] = catalog.catalog(backups)
    assert (done["id"], done["verified"], done["level"]) == (made.id, True, "L3")
    assert made.file.read_bytes().startswith(b"age-encryption.org/v1")
    names = {path.name for path in made.directory.iterdir()}
    assert names == {"evidence.jsonl", "manifest.json", "ppm.db.zst.age"}
    assert verify.stage(made, [KEY], tmp_path / "staged.db")["outcome"] == "ok"
    counts = "SELECT (SELECT count(*) FROM pairs) - 8000, count(*), coalesce(max(number), 0) FROM twins"
    [(pairs, twins, last)] = execute(tmp_path / "staged.db", counts)
    assert pairs == twins, "the backup holds half a transaction"
    assert last == twins, "the backup is not a prefix of what was written"


@pytest.mark.parametrize("page_size", [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536])
def test_every_page_size_can_be_backed_up(tmp_path: Path, backups: Path, page_size: int) -> None:
    database = tmp_path / "ppm.db"
    execute(
        database, f"PRAGMA page_size={page_size}; PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)"
    )

    backup.create(database, backups, backup.Options())

    assert prove(backups) == [("L3", "ok")]


def test_a_database_whose_writers_a_backup_would_keep_out_is_refused(database: Path, backups: Path) -> None:
    execute(database, "PRAGMA journal_mode=DELETE")

    with pytest.raises(StewardError, match="not in WAL mode, so its writers would fail while a backup reads"):
        backup.create(database, backups, OPTIONS)

    assert catalog.catalog(backups) == []


def test_whatever_sqlite_stores_is_part_of_the_digests(database: Path, backups: Path) -> None:
    execute(
        database,
        """CREATE VIRTUAL TABLE found USING fts5(text); INSERT INTO found VALUES ('a word'), ('another');
        CREATE TABLE computed(a INTEGER, twice AS (a * 2), kept AS (a * 3) STORED); INSERT INTO computed VALUES (1);
        CREATE TABLE shadowed(rowid TEXT, _rowid_ TEXT); INSERT INTO shadowed VALUES ('x', 'y');
        CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO counted DEFAULT VALUES;
        CREATE TABLE odd(a); INSERT INTO odd VALUES (CAST(x'ff41' AS TEXT)), (x'00'), (1e999), (NULL);
        CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE "a ""b"" c"(p REFERENCES parent)""",
    )

    backup.create(database, backups, OPTIONS)

    [made] = catalog.catalog(backups)
    assert made.manifest["tables"] == held(database)
    assert {"found_data", "computed", "names", "sqlite_sequence", 'a "b" c'} <= made.manifest["tables"].keys()
    assert prove(backups) == [("L3", "ok")]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pairs SET filling = 'x' WHERE rowid = 77",
        "DELETE FROM pairs WHERE rowid = 8000",
        "INSERT INTO names VALUES ('b')",
        "CREATE INDEX i ON pairs(number)",
        "UPDATE twins SET number = 'x'",
    ],
)
def test_no_change_leaves_the_digests_as_they_were(database: Path, change: str) -> None:
    execute(database, "INSERT INTO twins VALUES (1)")
    before = held(database)

    execute(database, change)

    assert held(database) != before


def test_digests_are_the_same_in_every_version(tmp_path: Path) -> None:
    """Manifests keep them for years."""
    execute(tmp_path / "a.db", "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'é'), (5000000000, x'00'), (NULL, 1.5)")

    assert held(tmp_path / "a.db")["t"] == {"rows": 3, "digest": "2ce438dbe1e1bd0ae3008c94028b3997"}


def test_digests_do_not_depend_on_where_rows_lie_in_the_file(database: Path) -> None:
    execute(database, "CREATE TABLE keyed(id INTEGER PRIMARY KEY, a); INSERT INTO keyed VALUES (1, 'a'), (2, 'b')")
    before = held(database)

    execute(database, "DELETE FROM keyed WHERE id = 1")
    execute(database, "INSERT INTO keyed VALUES (1, 'a')")

    assert held(database) == before


def test_each_of_a_hundred_flipped_bytes_and_cut_ends_is_found(database: Path, backups: Path) -> None:
    backup.create(database, backups, OPTIONS)
    [made] = catalog.catalog(backups)
    good, chance = made.file.read_bytes(), random.Random(7)  # noqa: S311

    for number in range(100):
        bad, at = bytearray(good), chance.randrange(len(good))
        if number % 2:
            bad[at] ^= 1 << chance.randrange(8)
        else:
            del bad[at:]
        made.file.write_bytes(bad)
        assert verify.prove(made, [KEY], backups)["outcome"] == "failed"

    made.file.write_bytes(good)
    assert verify.prove(made, [KEY], backups)["outcome"] == "ok"


@pytest.mark.parametrize("recipients", [OPTIONS.recipients, ()])
def test_decoding_finds_damage_without_the_hash(
    database: Path, backups: Path, tmp_path: Path, recipients: tuple[str, ...]
) -> None:
    backup.create(database, backups, backup.Options(recipients=recipients))
    [made] = catalog.catalog(backups)
    good = made.file.read_bytes()
    for bad in (good[: len(good) // 2], good[:-5000], good[:5000] + bytes([good[5000] ^ 1]) + good[5001:], b""):
        made.file.write_bytes(bad)
        with pytest.raises(StewardError, match=r"cannot be|does not match"):
            archive.unpack(made.file, tmp_path / "out", made.manifest["data"], [KEY])


def test_a_backup_whose_rows_are_not_those_of_its_manifest_has_failed(database: Path, backups: Path) -> None:
    backup.create(database, backups, OPTIONS)
    [made] = catalog.catalog(backups)
    made.manifest["tables"]["pairs"]["digest"] = "0" * 32
    (made.directory / catalog.MANIFEST).write_text(json.dumps(made.manifest))

    assert prove(backups) == [("L2", "failed")]
    assert not catalog.catalog(backups)[0].verified


def test_a_wrong_key_says_nothing_of_the_backup(database: Path, backups: Path) -> None:
    backup.create(database, backups, OPTIONS)

    assert prove(backups, pyrage.x25519.Identity.generate()) == [("L0", "inconclusive")]
    assert catalog.catalog(backups)[0].verified, "it was verified when it was made"


def test_without_a_manifest_there_is_no_backup_and_without_data_a_failed_one(database: Path, backups: Path) -> None:
    for _ in range(2):
        backup.create(database, backups, OPTIONS)
    first, second = catalog.catalog(backups)
    (first.directory / catalog.MANIFEST).unlink()
    second.file.unlink()

    assert [each.id for each in catalog.catalog(backups)] == [second.id]
    with pytest.raises(StewardError, match=f"there is no backup {first.id}"):
        catalog.find(backups, first.id)
    assert prove(backups) == [("none", "failed")]
    backup.create(database, backups, OPTIONS)
    assert not first.directory.exists(), "what was left of it goes with the next one"


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no"), (b"", "is empty"), (b"hello " * 1000, "not a database"), (b"SQLite format 3\0" * 300, "")],
)
def test_what_is_no_database_is_not_backed_up(tmp_path: Path, backups: Path, content: bytes | None, words: str) -> None:
    source = tmp_path / "ppm.db"
    if content is not None:
        source.write_bytes(content)

    done = steward("backup", settings=told(source, backups))

    assert done.returncode != 0
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path for path in backups.glob("*") if path.is_dir()] == []


def test_a_database_on_a_network_file_system_is_not_backed_up(
    database: Path, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_REMOTE", {"ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs"})  # as far as it knows

    with pytest.raises(StewardError, match=r"ppm\.db is on \w+, a network file system"):
        backup.create(database, backups, OPTIONS)

    assert not backups.exists()


def test_too_little_room_is_seen_before_anything_is_written(
    database: Path, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup.create(database, backups, OPTIONS)
    before = sorted(backups.rglob("*"))
    monkeypatch.setattr(files, "RESERVE", 1 << 60)

    with pytest.raises(StewardError, match="the disk is too full"):
        backup.create(database, backups, OPTIONS)

    assert sorted(backups.rglob("*")) == before


def test_a_full_disk_says_nothing_of_a_backup(database: Path, backups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup.create(database, backups, OPTIONS)
    monkeypatch.setattr(files, "RESERVE", 1 << 60)

    assert prove(backups) == [("L0", "inconclusive")]


@pytest.mark.parametrize("call", ["Path.replace", "Path.unlink", "os.fsync", "os.mkdir", "os.open", "apsw.Connection"])
def test_a_backup_that_is_killed_is_a_whole_one_or_none(database: Path, backups: Path, call: str) -> None:
    before = held(database)
    script = (
        "from pathlib import Path; from ppmkit.steward import backup\n"
        "backup.create(Path(sys.argv[3]), Path(sys.argv[4]), backup.Options())"
    )

    for _ in killed_at_each(call, script, str(database), str(backups)):
        assert set(prove(backups)) <= {("L3", "ok")}
        assert held(database) == before
    assert sorted(each.name for each in backups.iterdir() if each.is_dir()) == [
        each.id for each in catalog.catalog(backups)
    ], "what the killed ones left is gone"


def test_a_backup_for_which_the_disk_gets_full_at_any_moment_is_none(database: Path, backups: Path) -> None:
    script = (
        "from pathlib import Path; from ppmkit.steward import backup; import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "backup.create(Path(sys.argv[1]), Path(sys.argv[2]), backup.Options())"
    )
    size = database.stat().st_size
    for limit in (0, 100, 4096, *range(size // 8, size, size // 4)):
        argv = [sys.executable, "-c", script, str(database), str(backups), str(limit)]
        done = subprocess.run(argv, capture_output=True, check=False)
        assert done.returncode != 0
        assert [path for path in backups.iterdir() if path.is_dir()] == []


def test_a_copy_during_which_the_wal_grows_too_much_is_given_up(database: Path, tmp_path: Path) -> None:
    limits = {"wal_cap": 1 << 20, "rate": 2_000_000}
    with (
        writer(database),
        pytest.raises(StewardError, match="the WAL grew by"),
        snapshot.copied(database, tmp_path / "copy.db", 60, **limits),
    ):
        pytest.fail("it was copied")


def test_one_is_at_work_at_a_time(database: Path, backups: Path) -> None:
    with catalog.alone(backups), pytest.raises(StewardError, match="another backup"):
        backup.create(database, backups, OPTIONS)


def test_the_steward_answers_with_documents(database: Path, backups: Path) -> None:
    settings = told(database, backups, str(KEY.to_public()))
    for options in ((), ("--pinned",), ()):
        assert steward("backup", *options, settings=settings).returncode == 0

    listed = json.loads(steward("list-backups", settings=settings).stdout)
    assert [(each["pinned"], each["verified"]) for each in listed] == [(False, True), (True, True), (False, True)]
    checked = json.loads(steward("check", "latest", "--key", settings=settings, stdin=str(KEY)).stdout)
    assert [(each["id"], each["level"], each["outcome"]) for each in checked] == [(listed[0]["id"], "L3", "ok")]
    shown = json.loads(steward("show", listed[0]["id"], settings=settings).stdout)
    assert len(shown["evidence"]) == 2
    plan = json.loads(steward("retain", "--dry-run", settings=settings).stdout)
    assert [(each["keep"], each["why"]) for each in plan] == [
        (True, "last 1 of 1"),
        (True, "pinned"),
        (False, "no rule keeps it"),
    ]
    assert json.loads(steward("retain", settings=settings).stdout) == plan
    assert [each["id"] for each in json.loads(steward("list-backups", settings=settings).stdout)] == [
        each["id"] for each in listed[:2]
    ]
    assert steward("show", "../backups", settings=settings).stderr == "steward: not the id of a backup: ../backups\n"
    assert json.loads(steward("show", "--", listed[0]["id"], settings=settings).stdout) == shown
    assert steward("show", "--", "--help", settings=settings).stderr.startswith("steward: ")
    assert json.loads(steward("check", "--", listed[0]["id"], settings=settings).stdout)[0]["id"] == listed[0]["id"]
