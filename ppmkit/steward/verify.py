"""Verifying a backup, rung by rung: each says more than the one below, and costs more.

L0 its file is the one that the manifest names; L1 it can be decoded; L2 the database in it is sound; L3 it holds the
rows that the live one did. L4, the application answers on it, is not the steward's: ppmctl's drill asks the real image.
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


class _Climb:
    """How far it came."""

    level = "none"


def prove(backup: Backup, identities: Sequence[Any], scratch: Path) -> Evidence:
    """Climb as far as it goes, and keep beside the backup how far that was."""
    with _scratch(scratch) as directory:
        return stage(backup, identities, directory / "proof.db")


def stage(backup: Backup, identities: Sequence[Any], target: Path) -> Evidence:
    """Decode the backup to ``target`` and verify it there; keep how that went, and return it."""
    began, climb = time.monotonic(), _Climb()
    outcome: Outcome = "ok"
    seen = "it holds what the database did"
    try:
        _climb(backup, identities, target, climb)
    except Inconclusive as error:
        outcome, seen = "inconclusive", str(error)
    except (StewardError, apsw.Error) as error:
        outcome, seen = "failed", str(error)
    except OSError as error:  # a disk that is full here says nothing of the backup
        outcome, seen = "inconclusive", str(error)
    seconds = round(time.monotonic() - began, 3)
    evidence: Evidence = {"time": now(), "level": climb.level, "outcome": outcome, "seen": seen, "seconds": seconds}
    add_evidence(backup.directory, evidence)
    return evidence


def _climb(backup: Backup, identities: Sequence[Any], target: Path, climb: _Climb) -> None:
    data = backup.manifest["data"]
    if not backup.file.exists():
        raise StewardError(f"{data['file']} is gone")
    if hashed(backup.file) != data["sha256"]:
        raise StewardError(f"{data['file']} is not the file that was written: it was damaged or replaced")
    climb.level = "L0"
    target.parent.mkdir(parents=True, exist_ok=True)
    need_room(target.parent, data["plain_bytes"])
    unpack(backup.file, target, data, identities)
    climb.level = "L1"
    found = verify(target)
    climb.level = "L2"
    if backup.manifest["digests"] != ALGORITHM:
        raise KeyMissing(f"its digests are of another kind: {backup.manifest['digests']}")
    compare(backup.manifest["tables"], found)
    climb.level = "L3"


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=".proof-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
