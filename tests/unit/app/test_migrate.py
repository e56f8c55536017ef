"""Migrating and going back: all or nothing, the floor, the lock, the snapshot."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from pysqlite3 import dbapi2
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app import migrate, schema
from app.database import Database
from app.models import Base, Project
from tests.unit.app.conftest import HEAD, NEXT, NEXT_BUT_ONE, SHIPPED, until

Revisions = Callable[..., None]
EXPAND = "compatibility = 'expand'\ndef upgrade(): op.execute('CREATE TABLE more (id INTEGER)')"
BREAKING = EXPAND.replace("expand", "breaking")
DROPS = "def downgrade(): op.execute('DROP TABLE more')"
SILENT = "def upgrade(): pass"
REMAKES_A_TABLE = """
compatibility = 'breaking'
def upgrade():
    with op.batch_alter_table('projects', recreate='always') as table:
        table.alter_column('name', nullable=True)
"""
BREAKS_A_REFERENCE = "def upgrade(): op.execute('DELETE FROM projects')"


def state(database: Database) -> tuple[str | None, str | None]:
    """Return the revision and the floor."""
    with database.read() as session:
        return schema.current(session.connection()), schema.floor(session.connection())


def add(database: Database) -> None:
    """Add a project, with a run that refers to it."""
    with database.write() as session:
        session.add(Project(name="kept", url="https://git.example.org/kept"))
        session.flush()
        run = "INSERT INTO job_runs VALUES (1, 'scan', 'w', 'r', 1, '2026-01-01', '2026-01-01', 'ok')"
        session.execute(text(run))


def names(file: Path) -> list[str]:
    with closing(dbapi2.connect(str(file))) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM projects")]


def snapshots(database: Database) -> list[Path]:
    assert database.file is not None
    return sorted(database.file.parent.glob("pre-migration-*"))


def test_migrating_applies_what_is_pending_once(empty: Database) -> None:
    first, second = migrate.migrate(empty), migrate.migrate(empty)

    assert (first["from"], first["to"], first["applied"]) == (None, HEAD, SHIPPED)
    assert (second["from"], second["to"], second["applied"]) == (HEAD, HEAD, [])
    assert state(empty) == (HEAD, "0001")


def test_a_new_database_needs_no_snapshot(empty: Database) -> None:
    migrate.migrate(empty)

    assert snapshots(empty) == []


def test_an_expand_leaves_the_floor(database: Database, revisions: Revisions) -> None:
    revisions(EXPAND)

    assert migrate.migrate(database)["applied"] == [NEXT]
    assert state(database) == (NEXT, "0001")


@pytest.mark.parametrize("body", [f"compatibility = 'breaking'\n{SILENT}", SILENT, f"compatibility = None\n{SILENT}"])
def test_breaking_raises_the_floor_and_so_does_saying_nothing(
    database: Database, revisions: Revisions, body: str
) -> None:
    revisions(body, f"compatibility = 'expand'\n{SILENT}")

    assert [item["compatibility"] for item in schema.pending(database)["pending"]] == ["breaking", "expand"]
    migrate.migrate(database)
    assert state(database) == (NEXT_BUT_ONE, NEXT)


def test_an_older_release_has_nothing_pending_on_a_newer_database(database: Database, revisions: Revisions) -> None:
    revisions(EXPAND)
    migrate.migrate(database)
    revisions()

    assert schema.pending(database)["pending"] == []
    assert migrate.migrate(database)["applied"] == []
    assert state(database) == (NEXT, "0001")


def test_a_snapshot_is_taken_before_a_database_with_rows_changes(database: Database, revisions: Revisions) -> None:
    add(database)
    revisions("def upgrade(): op.execute('UPDATE projects SET name = 1')")

    migrate.migrate(database)

    [snapshot] = snapshots(database)
    assert snapshot.name == f"pre-migration-{HEAD}.db"
    assert names(snapshot) == ["kept"]
    assert database.file is not None
    assert names(database.file) == ["1"]


def test_a_revision_that_fails_takes_back_those_before_it(database: Database, revisions: Revisions) -> None:
    fails = "def upgrade():\n    op.execute('CREATE TABLE half (id INTEGER)')\n    op.execute('no such words')"
    revisions(EXPAND, fails)

    with pytest.raises(OperationalError, match="syntax error"):
        migrate.migrate(database)

    assert state(database) == (HEAD, "0001")
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM sqlite_master WHERE name IN ('half', 'more')")) == 0


def test_a_table_that_is_made_anew_keeps_what_refers_to_it(database: Database, revisions: Revisions) -> None:
    add(database)
    revisions(REMAKES_A_TABLE)

    migrate.migrate(database)

    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM job_runs WHERE project_id = 1")) == 1


def test_a_revision_that_breaks_references_is_undone(database: Database, revisions: Revisions) -> None:
    add(database)
    revisions(BREAKS_A_REFERENCE)

    with pytest.raises(migrate.SchemaError, match=f"revision {NEXT} leaves 1 broken reference"):
        migrate.migrate(database)

    assert state(database) == (HEAD, "0001")
    assert database.file is not None
    assert names(database.file) == ["kept"]


def test_foreign_keys_are_enforced_again_after_a_migration(database: Database) -> None:
    with database.read() as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_processes_that_migrate_at_once_apply_each_revision_once(tmp_path: Path) -> None:
    file = tmp_path / "ppm.db"
    lock = tmp_path / "ppm.db.migrating"
    environment = os.environ | {"APP_ENV": "test", "DATABASE_URL": f"sqlite:///{file}"}
    argv = [sys.executable, "-c", "from app.cli import main; main()", "migrate"]

    def waits(process: subprocess.Popen[str]) -> bool:
        for path in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it was closed in this moment
                if path.readlink() == lock:
                    return True
        return False

    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        processes = [
            subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        until(lambda: all(map(waits, processes)), 20)
    answers: list[dict[str, Any]] = [json.loads(process.communicate(timeout=60)[0]) for process in processes]

    assert sorted(answer["applied"] for answer in answers) == [[], [], SHIPPED]
    assert {answer["to"] for answer in answers} == {HEAD}


def test_a_downgrade_takes_back_what_came_after_a_revision_and_lowers_the_floor(
    database: Database, revisions: Revisions
) -> None:
    add(database)
    revisions(f"{BREAKING}\n{DROPS}", f"{SILENT}\ndef downgrade(): pass")
    migrate.migrate(database)
    assert state(database) == (NEXT_BUT_ONE, NEXT_BUT_ONE)

    done = migrate.downgrade(database, HEAD)

    assert (done["from"], done["to"], done["undone"]) == (NEXT_BUT_ONE, HEAD, [NEXT_BUT_ONE, NEXT])
    assert state(database) == (HEAD, "0001")
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM sqlite_master WHERE name = 'more'")) == 0
    assert migrate.downgrade(database, HEAD)["undone"] == []


@pytest.mark.parametrize(
    ("target", "words"), [(HEAD, f"cannot revert {NEXT}"), ("0009", "does not know the revision 0009")]
)
def test_a_downgrade_that_cannot_be_is_refused_before_anything_changes(
    database: Database, revisions: Revisions, target: str, words: str
) -> None:
    revisions(EXPAND, f"{SILENT}\ndef downgrade(): pass")
    migrate.migrate(database)

    with pytest.raises(migrate.SchemaError, match=words):
        migrate.downgrade(database, target)

    assert state(database) == (NEXT_BUT_ONE, NEXT_BUT_ONE)


def test_whoever_waits_for_a_signal_changes_nothing_before_it_comes(database: Database) -> None:
    with database.write() as session:
        for table in ("alembic_version", schema.FLOOR, *reversed(Base.metadata.sorted_tables)):
            session.execute(text(f"DROP TABLE {table}"))
    environment = os.environ | {"APP_ENV": "test", "DATABASE_URL": str(database.url)}
    argv = [sys.executable, "-c", "from app.cli import main; main()", "migrate", "--on-signal"]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None

    assert process.stderr.readline() == "waiting\n"
    assert state(database) == (None, None)
    process.send_signal(signal.SIGUSR1)

    assert json.loads(process.communicate(timeout=20)[0])["applied"] == SHIPPED
    assert state(database) == (HEAD, "0001")
