"""Litestream on the same file as our backup: the cost of a copy and of a restore, and the detection of damage."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.measuring import Cost, damaged, measured
from ppmkit.steward.continuous import litestream
from ppmkit.steward.files import fingerprint, remove


def copy(database: Path, folder: Path) -> Cost:
    """Create a complete replica in a folder, as its first sync does; return the cost."""
    config = folder / "litestream.yml"
    replica = {"type": "file", "path": str(folder / "replica")}
    config.write_text(
        json.dumps({"dbs": [{"path": str(database), "meta-path": str(folder / "meta"), "replica": replica}]})
    )
    return measured([litestream(), "replicate", "-config", str(config), "-once"])


def restore(folder: Path, target: Path, *options: str) -> Cost:
    """Restore the replica; return the cost."""
    remove(target)
    return measured(_restore(folder, target, *options))


def detected(folder: Path, target: Path) -> int:
    """Damage the replica in each of the ways; return how often the restore fails, or is correct despite the damage."""
    [file] = (folder / "replica").rglob("*.ltx")
    restore(folder, target)
    intact, count = fingerprint(target), 0
    for _ in damaged(file):
        remove(target)
        done = subprocess.run(_restore(folder, target), capture_output=True, check=False)
        count += done.returncode != 0 or fingerprint(target) == intact
    return count


def _restore(folder: Path, target: Path, *options: str) -> list[str]:
    return [litestream(), "restore", *options, "-o", str(target), (folder / "replica").as_uri()]
