"""The command `ppm` as a process: what it prints, and how it fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app import migrate
from app.database import Database
from app.models import Project
from tests.support.processes import running
from tests.unit.app.conftest import SHIPPED, until
from tests.unit.app.gitserver import git_server

ENVIRONMENT = {"PATH": os.environ["PATH"], "APP_ENV": "test", "PPM_RELEASE": "0a1b2c3d4e5f"}
ARGV = [sys.executable, "-c", "from app.cli import main; main()"]


def ppm(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ARGV, *argv], env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=20, check=False
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_database_is_migrated_and_gets_a_token(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ppm.db'}"
    too_early = ppm("token", "create", "ci", DATABASE_URL=url)
    assert (too_early.returncode, too_early.stderr.splitlines()) == (
        1,
        ["ppm: database error: no such table: tokens; run `ppm migrate`"],
    )

    assert json.loads(ppm("migrate", DATABASE_URL=url).stdout)["applied"] == SHIPPED
    assert json.loads(ppm("migrations", DATABASE_URL=url).stdout)["pending"] == []
    token = ppm("token", "create", "ci", DATABASE_URL=url).stdout.strip()

    assert token.startswith("ppm_")
    again = ppm("token", "create", "ci", DATABASE_URL=url)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("ppm: a token named ci already exists")
    assert token not in ppm("token", "list", DATABASE_URL=url).stdout


def test_help_version_and_revisions_need_neither_settings_nor_a_database() -> None:
    assert "Run the scheduled jobs" in ppm("--help", APP_ENV="production").stdout

    found = json.loads(ppm("version", APP_ENV="production").stdout)
    assert found["release"] == "0a1b2c3d4e5f"
    assert tuple(map(int, found["sqlite"].split("."))) >= (3, 51, 3)
    assert [item["revision"] for item in json.loads(ppm("revisions", APP_ENV="production").stdout)] == SHIPPED


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"APP_ENV": "somewhere"}, "ppm: APP_ENV: Input should be"),
        ({"DATABASE_URL": "sqlite://"}, "ppm: DATABASE_URL: SQLite needs a file"),
        ({"DRAIN_SECONDS": "soon"}, "ppm: DRAIN_SECONDS: Input should be a valid integer"),
        ({"DATABASE_URL": "sqlite:////nowhere/ppm.db"}, "ppm: database error: unable to open database file"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(environment: dict[str, str], sentence: str) -> None:
    failed = ppm("token", "list", **environment)

    assert failed.returncode == 1
    assert failed.stderr.startswith(sentence)
    assert len(failed.stderr.splitlines()) == 1


def test_the_worker_waits_for_its_schema_scans_and_leaves_nothing_behind(tmp_path: Path, empty: Database) -> None:
    environment = ENVIRONMENT | {"DATABASE_URL": str(empty.url), "MIGRATE_AT_START": "false"}
    environment |= {"CACHE_DIRECTORY": str(tmp_path / "cache"), "SCAN_PRIVATE_ADDRESSES": "true"}
    port = free_port()
    environment |= {"METRICS_PORT": str(port), "TMPDIR": str(tmp_path)}
    log = tmp_path / "log"
    with (
        git_server(tmp_path) as server,
        log.open("w") as stderr,
        running([*ARGV, "worker"], env=environment, stderr=stderr) as worker,
    ):
        until(lambda: "waiting: there is no database yet" in log.read_text())
        url = server.create("tool.git", "a@example.org")
        migrate.migrate(empty)
        with empty.write() as session:
            session.add(Project(name="tool", url=url))

        def scanned() -> bool:
            with empty.read() as session:
                return session.get_one(Project, 1).commits == 1

        until(scanned)
        counted = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        assert 'ppm_scan_seconds_count{outcome="ok"} 1.0' in counted
        assert (tmp_path / "heartbeat").exists()
        worker.terminate()
        assert worker.wait(10) == 0

    assert not (tmp_path / "heartbeat").exists()
    assert len(list((tmp_path / "cache" / "mirrors").iterdir())) == 1
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert said[-1]["event"] == "done"


def test_the_api_alone_needs_the_session_secret_in_production(tmp_path: Path) -> None:
    production = {"APP_ENV": "production", "DATABASE_URL": f"sqlite:///{tmp_path / 'ppm.db'}"}

    failed = ppm("serve", **production)

    assert failed.returncode == 1
    assert failed.stderr.startswith("ppm: the session secret is missing or shorter than 32 characters: mount it at")
    assert not (tmp_path / "ppm.db").exists()
    assert ppm("migrate", **production).returncode == 0


def test_a_worker_that_waits_can_be_stopped(tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"APP_ENV": "production"}
    environment |= {"DATABASE_URL": f"sqlite:///{tmp_path / 'ppm.db'}", "MIGRATE_AT_START": "false"}
    with running([*ARGV, "worker"], env=environment, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        assert "waiting" in worker.stderr.readline()
        worker.terminate()
        assert worker.wait(10) == 0
