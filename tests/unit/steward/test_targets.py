"""Copies elsewhere: on a real S3 server and a real SFTP server, both rclone's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyrage
import pytest

from ppmkit.steward import backup, catalog, targets, verify
from ppmkit.steward.errors import StewardError
from tests.support.database import make, steward
from tests.support.places import RCLONE, host_key, obscured, serving

KEY = pyrage.x25519.Identity.generate()
OPTIONS = backup.Options(recipients=(str(KEY.to_public()),))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Two targets, and the rclone.conf that knows them."""
    password = obscured("secret")
    (key, known), (_, other) = host_key(tmp_path), host_key(tmp_path)
    with ExitStack() as stack:
        s3 = stack.enter_context(serving("s3", tmp_path / "s3", "--auth-key", "accesskeyid1,secretaccess1"))
        sftp = stack.enter_context(
            serving("sftp", tmp_path / "sftp", "--dir-cache-time=0s", "--user=me", "--pass=secret", f"--key={key}")
        )
        there = f"type = sftp\nhost = 127.0.0.1\nport = {sftp}\nuser = me\npass = {password}\n"
        (tmp_path / "rclone.conf").write_text(
            f"[cloud]\ntype = s3\nprovider = Rclone\nendpoint = http://127.0.0.1:{s3}\n"
            "access_key_id = accesskeyid1\nsecret_access_key = secretaccess1\n"
            f"[other]\n{there}host_keys = {known}\n[changed]\n{there}host_keys = {other}\n"
            "[nobody]\ntype = sftp\nhost = 127.0.0.1\nport = 9\nuser = me\n"
        )
        monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
        monkeypatch.setenv("PATH", f"{Path(RCLONE).parent}:/usr/bin:/bin")
        (tmp_path / "s3" / "bucket").mkdir()
        yield {"cloud": "cloud:bucket/ppm", "other": "other:backups"}


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    backup.create(make(tmp_path / "ppm.db"), tmp_path / "backups", OPTIONS)
    return tmp_path / "backups"


def test_a_backup_gets_to_every_target_and_back(backups: Path, places: dict[str, str], tmp_path: Path) -> None:
    [made] = catalog.catalog(backups)

    assert targets.push(made, places) == {"cloud": "ok", "other": "ok"}

    for name, place in places.items():
        assert targets.listed(place) == [made.id]
        fetched = targets.fetch(place, "latest", tmp_path / name)
        assert fetched.manifest == made.manifest
        assert verify.prove(fetched, [KEY], tmp_path / name)["outcome"] == "ok"
    targets.forget(places["cloud"], made.id)
    assert targets.listed(places["cloud"]) == []
    assert targets.listed(places["other"]) == [made.id]


def test_a_target_that_is_down_is_named_and_stops_no_other(backups: Path, places: dict[str, str]) -> None:
    [made] = catalog.catalog(backups)

    found = targets.push(made, {"down": "nobody:backups", **places})

    assert found == {"down": found["down"], "cloud": "ok", "other": "ok"}
    assert "rclone copyto" in found["down"]


def test_a_server_with_another_host_key_than_the_known_one_gets_nothing(
    backups: Path, places: dict[str, str], tmp_path: Path
) -> None:
    [made] = catalog.catalog(backups)

    found = targets.push(made, {"changed": "changed:backups", "cloud": places["cloud"]})

    assert found == {"changed": found["changed"], "cloud": "ok"}
    assert "shows another host key than the secret rclone_conf has in `host_keys`; nothing was sent" in found["changed"]
    assert "SHA256:" in found["changed"]
    assert list((tmp_path / "sftp").iterdir()) == []
    with pytest.raises(StewardError, match="another host key"):
        targets.fetch("changed:backups", "latest", tmp_path / "here")


def test_what_was_damaged_there_does_not_come_here(backups: Path, places: dict[str, str], tmp_path: Path) -> None:
    [made] = catalog.catalog(backups)
    targets.push(made, places)
    file = tmp_path / "sftp" / "backups" / made.id / made.file.name
    file.write_bytes(file.read_bytes()[:-1] + b"x")

    with pytest.raises(StewardError, match="it was damaged there"):
        targets.fetch(places["other"], made.id, tmp_path / "here")

    assert list((tmp_path / "here").iterdir()) == []


def test_what_has_no_manifest_there_is_none(backups: Path, places: dict[str, str], tmp_path: Path) -> None:
    [made] = catalog.catalog(backups)
    targets.push(made, places)
    (tmp_path / "sftp" / "backups" / made.id / catalog.MANIFEST).unlink()

    with pytest.raises(StewardError, match="there is no backup latest"):
        targets.fetch(places["other"], "latest", tmp_path / "here")


def test_the_steward_copies_fetches_and_prunes_what_it_makes(places: dict[str, str], tmp_path: Path) -> None:
    database, here = make(tmp_path / "ppm.db"), tmp_path / "backups"
    keep = {"last": 1, "hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "safety": 0}
    told = {"database": str(database), "backups": str(here), "recipients": [str(KEY.to_public())], "deadline": 60}
    settings = json.dumps({**told, "rate": None, "keep": keep, "targets": places})

    first, second = (json.loads(steward("backup", settings=settings).stdout) for _ in range(2))
    assert first["targets"] == second["targets"] == {"cloud": "ok", "other": "ok"}
    catalog.remove(here / second["id"])
    fetched = steward("fetch", "cloud", "latest", settings=settings)
    assert json.loads(fetched.stdout)["id"] == second["id"]
    steward("retain", settings=settings)

    assert [each.id for each in catalog.catalog(here)] == [second["id"]]
    assert targets.listed(places["cloud"]) == targets.listed(places["other"]) == [second["id"]]
    assert "there is no target moon; targets: cloud, other" in steward("fetch", "moon", "x", settings=settings).stderr
