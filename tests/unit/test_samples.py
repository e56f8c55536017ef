"""What earlier versions left on hosts can be read: files of theirs, as they were recorded (tests/samples/README.md)."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from deploy import journal, placement, version
from deploy.backup import facts
from deploy.backup.backups import Summary
from deploy.backup.restore import RESTORE_STEPS
from deploy.backup.steward import catalog
from deploy.backup.steward.settings import settings
from deploy.journal import Unfinished
from deploy.proxy import live_color
from deploy.recover import way
from deploy.release import Release, other
from deploy.rollback import ROLLBACK_STEPS
from deploy.stack import parse_record
from deploy.upgrade import STEPS
from tests.earlier import COMMIT, SAMPLES
from tests.unit.test_journal import IMAGES

COMMITS = sorted(folder for folder in SAMPLES.iterdir() if folder.is_dir())
STEPS_OF = {"deploy": STEPS, "rollback": ROLLBACK_STEPS, "restore": RESTORE_STEPS}
OTHER = Release(id="another", images=IMAGES, secrets={})


@dataclass(frozen=True)
class _Directory:
    directory: PurePosixPath


class Kept:
    """A host, as far as what was kept of it can be read."""

    name = "web-1"

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder, _Directory(PurePosixPath(folder))

    def read(self, path: PurePosixPath) -> str | None:
        there = Path(path)
        return there.read_text() if there.exists() else None

    @property
    def journal(self) -> list[str]:
        return (self.folder / journal.FILE).read_text().splitlines()


@pytest.fixture(params=COMMITS, ids=lambda folder: folder.name)
def commit(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def rest(commit: Path) -> Any:
    return Kept(commit / "rest")


def under_way(host: Any, kind: str) -> Unfinished:
    """Return the operation that was cut short; every step of it that began must be one that today's code can undo."""
    found = journal.unfinished(host.journal)
    assert found is not None
    assert (found.intent.kind, found.who) == (kind, "ann@desk")
    assert set(found.begun) <= {step.name for step in STEPS_OF[kind]}
    assert way(found, found.intent.release, placed=True) == "go on"
    assert way(found, OTHER, placed=True) == "take back"
    return found


def test_the_recorded_commit_is_among_the_samples() -> None:
    assert SAMPLES / COMMIT[:7] in COMMITS


@pytest.mark.parametrize(("moment", "last"), [("deploy", "worker"), ("rollback", "ready")])
def test_an_operation_that_was_cut_short_is_known_and_users_are_on_the_release_of_before(
    commit: Path, moment: str, last: str
) -> None:
    host: Any = Kept(commit / moment)

    found = under_way(host, moment)

    assert last in found.done
    assert live_color(host) == found.intent.live == other(found.intent.target)


def test_a_canary_that_was_cut_short_is_known_with_its_shares(commit: Path) -> None:
    host: Any = Kept(commit / "canary")

    found = under_way(host, "deploy")

    assert found.intent.canary == (5, 100)
    assert "canary" in found.begun
    assert live_color(host) == found.intent.live


@pytest.mark.parametrize(("moment", "kind"), [("hold", "deploy"), ("restore", "restore")])
def test_a_hold_that_was_cut_short_is_known_and_requests_wait_for_the_release_to_come(
    commit: Path, moment: str, kind: str
) -> None:
    host: Any = Kept(commit / moment)

    found = under_way(host, kind)

    assert "hold" in found.begun
    assert "hold" not in found.done
    assert found.facts["way"] == "hold"
    assert live_color(host) == found.intent.target
    change = found.intent.change
    assert (change is not None and change.replaces) == (kind == "restore")
    assert [folder.name for folder in (host.folder / "holds").iterdir()] == [found.intent.operation]


def test_a_journal_of_operations_that_have_ended_is_read_whole(rest: Any) -> None:
    lines = rest.journal
    begun = [json.loads(line) for line in lines if '"intent"' in line]

    assert journal.unfinished(lines) is None
    past = journal.history(lines)
    assert len(past) == len(begun)
    assert {operation.outcome for operation in past} <= {"done", "undone"}


def test_every_record_of_a_release_is_read(rest: Any) -> None:
    files = sorted(rest.folder.glob("releases/*/release.json"))
    found = [parse_record(rest, str(file), file.read_text()) for file in files]

    assert [record.id for record in found] == [file.parent.name for file in files]
    assert all(record.revisions and record.steps and record.release.secrets for record in found)
    assert live_color(rest) in {record.color for record in found}


def test_every_backup_is_read_with_its_evidence(rest: Any) -> None:
    found = [catalog.read(folder) for folder in (rest.folder / "backups").iterdir()]

    assert found
    assert all(backup.verified for backup in found)
    assert all(Summary.model_validate({"host": "web-1", **backup.summary()}).rows for backup in found)


def test_the_settings_of_backups_are_read(rest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (rest.folder / "steward/settings.json", *rest.folder.glob("releases/*/steward.json")):
        monkeypatch.setenv("STEWARD", str(file))
        found = settings()
        assert found.database.name == "ppm.db"
        assert found.at
        assert found.objective.total_seconds() > 0


def test_what_the_steward_knows_is_read(rest: Any) -> None:
    found = facts.read(rest)

    assert found is not None
    assert found.last_backup is not None


def test_how_secrets_looked_is_noted_as_it_is_today(rest: Any) -> None:
    """Else every secret of the host would count as doubtful, and be read again by a container."""
    stat = subprocess.run(["stat", "-c", placement._LOOKS, __file__], capture_output=True, text=True, check=True)
    today = len(stat.stdout.split())

    lines = (rest.folder / "secrets/placed").read_text().splitlines()

    assert lines
    assert all(re.match(r"\w+/[0-9a-f]{8} ", line) and len(line.split()) == today for line in lines)


def test_a_site_without_a_record_of_the_version_may_be_changed(rest: Any) -> None:
    assert version.look(rest) is None
