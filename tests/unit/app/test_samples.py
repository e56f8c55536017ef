"""Sample repositories, and the files of the server as repositories: below one folder, and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from httpx import Client
from sqlalchemy import delete, select

from app import samples
from app.database import Database
from app.errors import PpmError
from app.models import Project
from app.settings import Settings
from app.worker.address import AddressError, resolve
from app.worker.git import Git
from app.worker.scans import Scanner
from tests.unit.app.conftest import RELEASE
from tests.unit.app.test_job import runner
from tests.unit.app.test_projects import problem


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    folder = tmp_path / "samples"
    return Settings(app_env="development", database_url=str(database.url), ppm_release=RELEASE, scan_files=folder)


def projects(database: Database) -> list[Project]:
    with database.read() as session:
        return list(session.scalars(select(Project).order_by(Project.id)))


def test_the_samples_are_real_repositories_that_a_scan_can_read(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.worker.scans.PAUSE_SECONDS", 0)
    names = samples.make(settings, database)
    scanner = Scanner(Git(tmp_path / "mirrors", 20, 8 << 20, files=settings.scan_files), timedelta(hours=1))

    runner(database, "w1", lambda run: scanner.scan_due(run)).tick()

    found = projects(database)
    assert [project.name for project in found] == names == [sample.name for sample in samples.SAMPLES]
    assert {project.scan_error for project in found} == {None}
    assert [project.language for project in found] == ["Python", "TypeScript", "Terraform", "Java"]
    assert [project.license for project in found] == ["MIT", "MIT", "Apache-2.0", None]
    assert all((project.commits or 0) > 20 and project.todos is not None for project in found)
    assert len(found[0].activity or {}) > 40


def test_samples_are_made_once_and_what_was_deleted_stays_away(database: Database, settings: Settings) -> None:
    assert samples.make(settings, database)
    assert samples.make(settings, database) == []
    with database.write() as session:
        session.execute(delete(Project))

    assert samples.make(settings, database) == []
    assert projects(database) == []


def test_whoever_has_projects_gets_no_samples(database: Database, settings: Settings) -> None:
    with database.write() as session:
        session.add(Project(name="mine", url="https://git.example.org/mine"))

    assert samples.make(settings, database) == []
    assert settings.scan_files is not None
    assert not settings.scan_files.exists()


def test_in_production_there_are_no_samples(database: Database) -> None:
    with pytest.raises(PpmError, match="SCAN_FILES is not set"):
        samples.make(Settings(app_env="test"), database)


def test_files_are_added_below_the_folder_only(client: Client, settings: Settings) -> None:
    def add(url: str) -> int:
        return client.post("/api/projects", json={"url": url}).status_code

    folder = settings.scan_files
    assert add(f"file://{folder}/tool.git") == 201
    for path in ("/etc", f"{folder}/../other.git", f"{folder}/%2e%2e/other.git", f"{folder}-other/x.git"):
        assert add(f"file://{path}") == 422
    assert add(f"file://elsewhere{folder}/tool.git") == 422
    project = client.get("/api/projects").json()["items"][0]
    problem(client.patch(f"/api/projects/{project['id']}", json={"url": "file:///etc"}), 422)


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/out.git").symlink_to(tmp_path)

    assert resolve(f"file://{tmp_path}/samples/a.git", private=True, files=tmp_path / "samples").protocol == "file"
    for url in (f"file://{tmp_path}/samples/out.git", f"file://{tmp_path}/x.git"):
        with pytest.raises(AddressError, match="refused to read"):
            resolve(url, private=True, files=tmp_path / "samples")
    with pytest.raises(AddressError, match="refused to read"):
        resolve(f"file://{tmp_path}/samples/a.git", private=True)
