"""The code of an earlier commit.

Move COMMIT forward when no site that is still supported was deployed with anything older: to a commit on the main
branch.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from ppmkit.paths import KIT

COMMIT = "d98068b965c40145fdb781c2133e3b28c60fb2f4"


def unpack(folder: Path, commit: str = COMMIT) -> Path:
    """Write the files of a commit to a folder that is not there yet; return it. Fails where history lacks it."""
    git = ["git", "-C", str(KIT)]
    known = subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False)
    assert known.returncode == 0, (
        f"git's history here lacks commit {commit}, whose code this test runs. "
        "In a shallow clone: git fetch --unshallow"
    )
    folder.mkdir()
    archive = subprocess.run([*git, "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder
