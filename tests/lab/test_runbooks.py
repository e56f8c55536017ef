"""The runbooks' commands, as they stand in the page, by a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from ppmkit.lab import Lab
from ppmkit.paths import KIT
from tests.support.places import host_key, obscured, serving
from tests.support.site import Site

CHANGES = {"upgrade": 0, "failed-upgrade": 1, "rollback": 2}


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(live: Site) -> Iterator[None]:
    """After these tests the site serves this checkout again."""
    yield
    live.configure()
    live.ppmctl("deploy")


def commands(page: Path) -> list[str]:
    """Return the commands of a page's console blocks, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.M | re.S)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def run(live: Site, folder: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator would, in a folder of its own, who has exported these variables."""
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin" / "ppmctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {KIT / "ppmctl.py"} "$@"\n')
    program.chmod(0o755)
    path = {"PPMCTL_ENV": live.name, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    environment = live.variables | path | variables
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_the_commands_about_backups_do_what_they_say(live: Site, tmp_path: Path) -> None:
    before = live.serving()

    for name in ("backup", "restore", "disk-full", "failed-drill"):
        for command in commands(KIT / "docs" / "runbooks" / f"{name}.md"):
            if "$TIME" in command:  # test_backup.py, where changes are shipped
                continue
            done = run(live, tmp_path, command)
            assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"

    assert live.serving() == before


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CHANGES)
def test_the_commands_of_a_runbook_do_what_it_says(live: Site, name: str, tmp_path: Path) -> None:
    before = live.serving()
    live.configure(app={"scan_interval_minutes": 500 + CHANGES[name]})
    if name == "failed-upgrade":
        with live.start("deploy") as deploy:
            deploy.await_words("✓ start")
            deploy.process.kill()
    if name == "rollback":
        live.ppmctl("deploy")
    found = commands(KIT / "docs" / "runbooks" / f"{name}.md")
    assert len(found) >= 3

    for number, command in enumerate(found):
        done = run(live, tmp_path, command)
        differs = "plan" in command.split() or (name == "failed-upgrade" and number == 0)
        assert done.returncode == (3 if differs else 0), f"{command}: {done.stdout}\n{done.stderr}"

    assert (live.serving() == before) is (name == "rollback")


@pytest.mark.timeout(500)
def test_a_host_that_is_gone_comes_back_on_another_with_the_commands_of_the_runbook(
    live: Site, lab: Lab, tmp_path: Path
) -> None:
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(str(key))
    targets = [{"name": "offsite", "to": "offsite:ppm"}]
    wanted = {"recipients": [str(key.to_public())], "identity_file": str(tmp_path / "key"), "targets": targets}
    outside = live.root("ip route show default | cut -d ' ' -f 3")  # this machine, as the servers see it
    (tmp_path / "phoenix").mkdir()
    phoenix = Site("phoenix", lab, 2, tmp_path / "phoenix")
    file, known = host_key(tmp_path)
    options = ("--dir-cache-time=50ms", "--user=me", "--pass=pw", f"--key={file}")
    with serving("sftp", tmp_path / "there", *options, address=outside) as port:
        access = f"host = {outside}\nport = {port}\nuser = me\npass = {obscured('pw')}\n"
        conf = f"[offsite]\ntype = sftp\n{access}host_keys = {known}\n"
        for site in (live, phoenix):
            site.configure(backup=wanted)
            folder = site.folder / "secrets"
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / "rclone_conf").write_text(conf)
            (folder / "rclone_conf").chmod(0o600)
        live.ppmctl("deploy")
        live.token("kept")
        lost = live.json("backup create")["id"]

        for command in commands(KIT / "docs" / "runbooks" / "disaster-recovery.md"):
            done = run(phoenix, tmp_path, command)
            assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"

        assert lost in [each["id"] for each in phoenix.json("backup list")]
        assert "kept" in phoenix.ppmctl("exec api", "--", "ppm", "token", "list").stdout
        phoenix.ppmctl("down", "--purge", "--yes")
