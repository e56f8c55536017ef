"""Litestream on the same file as our own backup: what a copy takes, bringing it back, and seeing damage."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.measuring import Cost, damaged, measured
from ppmkit.steward.continuous import litestream
from ppmkit.steward.files import fingerprint, remove


def copy(database: Path, folder: Path) -> Cost:
    """Make a whole replica in a folder, as its first sync does; return what that took."""
    config = folder / "litestream.yml"
    replica = {"type": "file", "path": str(folder / "replica")}
    config.write_text(
        json.dumps({"dbs": [{"path": str(database), "meta-path": str(folder / "meta"), "replica": replica}]})
    )
    return measured([litestream(), "replicate", "-config", str(config), "-once"])


def restore(folder: Path, target: Path, *options: str) -> Cost:
    """Bring it back; return what that took."""
    remove(target)
    return measured(_restore(folder, target, *options))


def detected(folder: Path, target: Path) -> int:
    """Damage the replica in each of the ways; return how often it is not brought back, or as it was all the same."""
    [file] = (folder / "replica").rglob("*.ltx")
    restore(folder, target)
    whole, found = fingerprint(target), 0
    for _ in damaged(file):
        remove(target)
        done = subprocess.run(_restore(folder, target), capture_output=True, check=False)
        found += done.returncode != 0 or fingerprint(target) == whole
    return found


def _restore(folder: Path, target: Path, *options: str) -> list[str]:
    return [litestream(), "restore", *options, "-o", str(target), (folder / "replica").as_uri()]
