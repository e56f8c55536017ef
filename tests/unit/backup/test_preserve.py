"""What there was before becomes a backup: once, and the outcome is told, wherever an operation is cut short."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ppmkit.backup import preserve
from ppmkit.errors import ContainerFailed
from ppmkit.operation.findings import Findings
from ppmkit.operation.journal import Kind
from ppmkit.operation.transaction import Operation
from ppmkit.orchestrator import oneoff
from ppmkit.orchestrator.stack import Stack
from ppmkit.progress import Progress
from ppmkit.steward import catalog
from ppmkit.steward.sqlite import snapshot
from tests.support.database import make, steward, told
from tests.unit.conftest import environment_of
from tests.unit.operation.test_journal import intent


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with the steward beside it, who answers as on a host."""
    database, settings = make(tmp_path / "ppm.db", rows=60), told(tmp_path / "ppm.db", tmp_path / "backups")

    def ask(*where: object, timeout: float) -> Any:
        *_, service, command = where
        assert service == "steward"
        assert timeout > 0
        done = steward(*cast("tuple[str, ...]", command), settings=settings)
        if done.returncode != 0:
            raise ContainerFailed("it has failed", seen=done.stderr)
        return json.loads(done.stdout)

    monkeypatch.setattr(oneoff, "ask", ask)
    monkeypatch.setattr(Operation, "compose", None)
    return database


def operation(database: Path, way: str, kind: Kind = "deploy", facts: Mapping[str, str] = {}) -> Operation:
    """Return one operation that has changed the database, and found out these facts before it was cut short."""
    host = SimpleNamespace(environment=environment_of(app={"database_url": f"sqlite:///{database}"}))
    return Operation(
        host=cast("Any", host),
        intent=intent(kind=kind, operation="20260101T120000000"),
        stack=cast("Stack", None),
        files=database.parent,
        who="ann@desk",
        progress=cast("Progress", None),
        findings=Findings.read({"way": way, "snapshot_seconds": "1.5", **facts}),
    )


@pytest.mark.parametrize(("way", "kind"), [("beside", "deploy"), ("hold", "restore")])
def test_who_is_cut_short_at_any_moment_finds_the_one_backup(database: Path, way: str, kind: Kind) -> None:
    keep = preserve.file_replaced if kind == "restore" else preserve.file_snapshot
    first = operation(database, way, kind)
    copy = Path(first.snapshot)
    snapshot.snapshot(database, copy, 30)

    said = keep(first)  # killed before the journal knew of it:
    again = operation(database, way, kind)
    assert keep(again) == said
    preserve.clear(again)  # killed before the journal knew of that:
    last = operation(database, way, kind, again.findings.texts())
    assert keep(last) == said
    preserve.clear(last)

    [made] = catalog.catalog(database.parent / "backups")
    assert said == f"the previous database is backup {made.id}"
    assert not copy.exists()


def test_the_snapshot_that_a_rollback_needs_stays(database: Path) -> None:
    upgrade = operation(database, "hold")
    snapshot.snapshot(database, Path(upgrade.snapshot), 30)

    preserve.file_snapshot(upgrade)
    preserve.clear(upgrade)

    assert Path(upgrade.snapshot).exists()


def test_what_could_not_be_made_a_backup_of_is_named_and_stays(database: Path) -> None:
    upgrade = operation(database, "beside")
    copy = Path(upgrade.snapshot)
    copy.parent.mkdir()
    copy.write_bytes(b"not a database" * 500)

    said = preserve.file_snapshot(upgrade)
    preserve.clear(upgrade)

    assert said.startswith(f"no backup of the previous database; it is in {copy} on the volume: steward: ")
    assert copy.exists()
