"""Verify a backup level by level; each level proves more than the one below, and costs more.

L0: the file matches the manifest. L1: it can be decoded. L2: its database is intact. L3: it has the same rows as the
live database had. L4, the application answers on it, is not done here: ppmctl's drill runs the real image.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from .archive import hashed, unpack
from .catalog import Backup, Evidence, Outcome, add_evidence, now
from .errors import Inconclusive, KeyMissing, StewardError
from .files import need_room
from .sqlite.digest import ALGORITHM
from .sqlite.snapshot import compare, verify


class _Progress:
    """The highest level reached so far."""

    level = "none"


def prove(backup: Backup, identities: Sequence[Any], scratch: Path) -> Evidence:
    """Verify up to the highest possible level, and record the evidence with the backup."""
    with _scratch(scratch) as directory:
        return stage(backup, identities, directory / "proof.db")


def stage(backup: Backup, identities: Sequence[Any], target: Path) -> Evidence:
    """Decode the backup to ``target`` and verify it there; record the evidence and return it."""
    began, progress = time.monotonic(), _Progress()
    outcome: Outcome = "ok"
    seen = "it has the same rows as the database had"
    try:
        _verify_levels(backup, identities, target, progress)
    except Inconclusive as error:
        outcome, seen = "inconclusive", str(error)
    except (StewardError, apsw.Error) as error:
        outcome, seen = "failed", str(error)
    except OSError as error:  # a full disk here says nothing about the backup
        outcome, seen = "inconclusive", str(error)
    seconds = round(time.monotonic() - began, 3)
    evidence: Evidence = {"time": now(), "level": progress.level, "outcome": outcome, "seen": seen, "seconds": seconds}
    add_evidence(backup.directory, evidence)
    return evidence


def _verify_levels(backup: Backup, identities: Sequence[Any], target: Path, progress: _Progress) -> None:
    data = backup.manifest["data"]
    if not backup.file.exists():
        raise StewardError(f"{data['file']} is missing")
    if hashed(backup.file) != data["sha256"]:
        raise StewardError(f"{data['file']} is not the file that was written: it was damaged or replaced")
    progress.level = "L0"
    target.parent.mkdir(parents=True, exist_ok=True)
    need_room(target.parent, data["plain_bytes"])
    unpack(backup.file, target, data, identities)
    progress.level = "L1"
    tables = verify(target)
    progress.level = "L2"
    if backup.manifest["digests"] != ALGORITHM:
        raise KeyMissing(f"its digests use another algorithm: {backup.manifest['digests']}")
    compare(backup.manifest["tables"], tables)
    progress.level = "L3"


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=".proof-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
