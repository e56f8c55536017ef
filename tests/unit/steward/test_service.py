"""The steward's service as a process of its own, on a real database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ppmkit.backup.status import Facts, problems
from ppmkit.paths import KIT
from ppmkit.steward import catalog
from tests.support.database import make, steward, told, writer
from tests.support.processes import running
from tests.support.waiting import eventually

PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


class Running:
    """A service, with its folders."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.database, self.backups, self.facts = folder / "ppm.db", folder / "backups", folder / "facts"
        self.backups.mkdir(exist_ok=True)
        self.facts.mkdir(exist_ok=True)
        base = json.loads(told(self.database, self.backups))
        schedule = {"at": ["02:30"], "drill": "sun 04:30", "objective": 3600, "facts": str(self.facts)}
        self.settings = json.dumps({**base, **schedule, **changes})
        self.file = folder / "settings.json"
        self.file.write_text(self.settings)

    @property
    def variables(self) -> dict[str, str]:
        there = str(KIT)
        return {**os.environ, "PYTHONPATH": there, "STEWARD": str(self.file), "PATH": PATH}

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        with running([sys.executable, "-m", "ppmkit.steward", "serve"], env=self.variables) as process:
            yield process

    @property
    def said(self) -> dict[str, Any]:
        file = self.facts / "backups.json"
        return json.loads(file.read_text()) if file.exists() else {"last_backup": None, "failures": {}}

    @property
    def made(self) -> int:
        return len(catalog.catalog(self.backups))

    def health(self) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "ppmkit.steward.health"]
        return subprocess.run(argv, env=self.variables, capture_output=True, text=True, check=False)


def soon(seconds: int) -> str:
    """Return a time of day that comes in so many seconds."""
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%H:%M:%S}"


def test_a_fresh_steward_makes_a_backup_at_once_then_on_the_schedule_and_tells_of_it(tmp_path: Path) -> None:
    one = Running(tmp_path, at=[soon(5)])
    with writer(make(one.database)), one.serving() as process:
        assert eventually(lambda: one.said["last_backup"] is not None)
        first = one.said["last_backup"]["id"]
        assert eventually(lambda: one.said["last_backup"]["id"] != first)
        assert one.health().stdout == "ok\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0

    assert one.made == 1, "the policy keeps one"
    found = Facts.model_validate(one.said)
    assert found.last_backup is not None
    assert found.last_backup.verified
    assert found.last_drill is None, "what is proven when it is made was not restored yet"
    assert list(problems(found, datetime.now(UTC))) == []
    metrics = (one.facts / "backups.prom").read_text()
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(values["ppm_backup_last_bytes"]) == found.last_backup.bytes
    assert float(values["ppm_backup_last_timestamp_seconds"]) == found.last_backup.at.timestamp()
    assert 'ppm_backup_failures{task="backup"} 0.0' in metrics


def test_what_was_missed_is_made_up_for_once_and_what_was_not_is_left(tmp_path: Path) -> None:
    one = Running(tmp_path)
    make(one.database)
    assert steward("backup", settings=one.settings).returncode == 0
    with one.serving():
        assert eventually(lambda: "written" in one.said)
        assert datetime.fromisoformat(one.said["next_backup"]) > datetime.now(UTC)
    manifest = catalog.catalog(one.backups)[0].directory / "manifest.json"
    long_ago = {"created": (datetime.now(UTC) - timedelta(days=3)).isoformat()}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | long_ago))
    missed = Running(tmp_path, keep={"last": 9})

    with missed.serving():
        assert eventually(lambda: missed.made == 2)
        assert eventually(lambda: datetime.fromisoformat(missed.said["next_backup"]) > datetime.now(UTC))

    assert missed.made == 2


def test_what_is_asked_for_beside_it_waits_its_turn(tmp_path: Path) -> None:
    slow = Running(tmp_path, rate=2_000_000, keep={"last": 9})
    make(slow.database)
    with slow.serving():
        assert eventually(lambda: list(slow.backups.glob("2*/copy.db")) != [])

        done = steward("backup", settings=slow.settings)

    assert done.returncode == 0, done.stderr
    assert [each.manifest["kind"] for each in catalog.catalog(slow.backups)] == ["nightly", "manual"]


def test_it_ends_at_once_in_the_midst_of_a_backup_and_leaves_nothing_that_counts(tmp_path: Path) -> None:
    slow = Running(tmp_path, rate=1_000_000)
    make(slow.database)
    with slow.serving() as process:
        assert eventually(lambda: list(slow.backups.glob("2*/copy.db")) != [])
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert slow.made == 0
    quick = Running(tmp_path)

    with quick.serving():
        assert eventually(lambda: quick.made == 1)

    assert [path.name for path in quick.backups.glob("2*")] == [catalog.catalog(quick.backups)[0].id]


def test_a_failure_is_told(tmp_path: Path) -> None:
    one = Running(tmp_path)

    with one.serving():
        assert eventually(lambda: "backup" in one.said["failures"])

    assert f"there is no {one.database}" in one.said["failures"]["backup"]["said"]
    assert "backup has failed 1 times" in "; ".join(problems(Facts.model_validate(one.said), datetime.now(UTC)))


def test_a_target_that_is_down_is_named_and_another_gets_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rclone.conf").write_text("[here]\ntype = local\n[nobody]\ntype = sftp\nhost = 127.0.0.1\nport = 9\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    there = tmp_path / "there"
    one = Running(tmp_path, targets={"down": "nobody:backups", "other": f"here:{there}"})
    make(one.database)

    with one.serving():
        assert eventually(lambda: len(list(there.glob("*/manifest.json"))) == 1, 60)
        assert eventually(lambda: "copy to down" in one.said["failures"], 60)

    assert "copy to other" not in one.said["failures"]


def test_a_target_with_backups_of_another_database_is_left_alone_until_one_of_them_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rclone.conf").write_text("[here]\ntype = local\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    monkeypatch.setenv("PATH", PATH)
    lost, fresh = tmp_path / "lost", tmp_path / "fresh"
    lost.mkdir()
    fresh.mkdir()
    targets = {"offsite": f"here:{tmp_path / 'there'}"}
    gone, one = Running(lost, targets=targets), Running(fresh, targets=targets)
    make(gone.database)
    make(one.database)
    assert steward("backup", settings=gone.settings).returncode == 0
    [kept] = catalog.catalog(gone.backups)

    with one.serving():
        assert eventually(lambda: "copy to offsite" in one.said["failures"])
    assert "restore --latest --from offsite" in one.said["failures"]["copy to offsite"]["said"]
    fetched = json.loads(steward("fetch", "offsite", "latest", settings=one.settings).stdout)
    assert fetched["id"] == kept.id
    with one.serving():
        assert eventually(lambda: len(list((tmp_path / "there").glob("*/manifest.json"))) == 2)


def test_a_drill_reads_a_backup_back_and_counts_only_when_it_was_whole(tmp_path: Path) -> None:
    one = Running(tmp_path, drill=f"{datetime.now(UTC):%a}".lower() + f" {soon(6)}")
    make(one.database)

    with one.serving():
        assert eventually(lambda: one.said.get("last_proven") is not None, 30)

    found = Facts.model_validate(one.said)
    assert found.last_proven == found.last_drill
    assert found.last_proven is not None
    assert (found.last_proven.level, found.last_proven.outcome) == ("L3", "ok")


class _Ears(BaseHTTPRequestHandler):
    heard: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.heard.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_heart_beats_only_after_a_backup_that_was_verified_and_its_address_is_never_told(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Ears) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "url").write_text(f"http://127.0.0.1:{server.server_port}/ping/hush\n")
        one = Running(tmp_path, heartbeat=str(tmp_path / "url"))
        with one.serving():
            assert eventually(lambda: "backup" in one.said["failures"])
        assert _Ears.heard == []
        make(one.database)
        with one.serving():
            assert eventually(lambda: _Ears.heard == ["/ping/hush"])
        server.shutdown()
    one.backups.joinpath(catalog.catalog(one.backups)[0].id, "manifest.json").unlink()

    with one.serving():
        assert eventually(lambda: "heartbeat" in one.said["failures"])

    assert one.said["failures"]["heartbeat"]["said"] == "the heartbeat request failed: URLError"


def test_changes_are_shipped_beside_the_backups_and_one_that_ends_is_told_of(tmp_path: Path) -> None:
    one = Running(tmp_path, continuous={"keep": 3600, "interval": 0.1})
    make(one.database, rows=50)

    with one.serving() as process:
        try:
            assert eventually(lambda: json.loads(steward("moments", settings=one.settings).stdout))
            [litestream] = _children(process.pid, "litestream")
            os.kill(litestream, signal.SIGKILL)
            assert eventually(lambda: "continuous" in one.said["failures"])
        finally:
            process.terminate()  # it takes Litestream with it
            process.wait(20)

    assert "Litestream ended with status -9" in one.said["failures"]["continuous"]["said"]
    [span] = one.said["continuous"]
    refused = steward("stage-at", "2020-01-01T00:00:00+00:00", str(tmp_path / "copy.db"), settings=one.settings)
    assert "was not shipped" in refused.stderr
    done = steward("stage-at", span["last"], str(tmp_path / "copy.db"), settings=one.settings)
    assert json.loads(done.stdout)["rows"] == 51


def _children(pid: int, name: str) -> list[int]:
    """Return the processes of a name that a process has started."""
    tasks = [Path(f"/proc/{pid}/task/{task.name}/children") for task in Path(f"/proc/{pid}/task").iterdir()]
    found = [int(child) for task in tasks for child in task.read_text().split()]
    return [child for child in found if Path(f"/proc/{child}/comm").read_text().strip() == name]
