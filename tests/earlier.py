"""The code of an earlier commit, and what it leaves on a host.

Move COMMIT forward when no site that is still supported was deployed with anything older: to a commit on the main
branch. Then record what its code leaves on a host, too (tests/samples/README.md); older samples stay.
"""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

from deploy.configfile import ROOT
from deploy.operation import who
from tests.site import Site

COMMIT = "d98068b965c40145fdb781c2133e3b28c60fb2f4"
SAMPLES = Path(__file__).parent / "samples"
UNDER_WAY = "journal.jsonl traefik/dynamic/routes.yaml holds/*/plan holds/*/log"
"""What an operation that was cut short leaves, below the environment's directory."""
AT_REST = (
    "journal.jsonl version.json traefik/dynamic/routes.yaml releases/*/release.json releases/*/steward.json "
    "secrets/placed steward/settings.json history/*.json facts/*.json backups/*/*.json*"
)
"""What a site has that serves."""


def unpack(folder: Path, commit: str = COMMIT) -> Path:
    """Write the files of a commit to a folder that is not there yet; return it. Fails where history lacks it."""
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False)
    assert known.returncode == 0, (
        f"git's history here lacks commit {commit}, whose code this test runs. "
        "In a shallow clone: git fetch --unshallow"
    )
    folder.mkdir()
    archive = subprocess.run([*git, "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def collect(site: Site, files: str, folder: Path) -> None:
    """Copy files of a site, given by shell patterns, to a new folder; of a journal under way, the last operation.

    The copies say that ann@desk ran the operations.
    """
    text = site.root(f"cd {site.directory} && ls -d {files} 2> /dev/null | tar -c -T - | base64 -w 0")
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=base64.b64decode(text), check=True)
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_text(file.read_text().replace(who(), "ann@desk"))
    if files == UNDER_WAY:
        journal = folder / "journal.jsonl"
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(lines[max(n for n, line in enumerate(lines) if '"intent"' in line) :]))
