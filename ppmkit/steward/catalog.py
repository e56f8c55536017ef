"""Catalog of the backups in a directory. Each backup has its own directory and is valid only once it has a manifest.

backups/<id>/ppm.db.zst.age   the database, compressed and encrypted
backups/<id>/manifest.json    metadata and content digests; written last, never edited
backups/<id>/evidence.jsonl   all verifications: time, level, outcome
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, TypedDict

from .archive import Data
from .errors import StewardError
from .files import published, sync
from .sqlite.digest import Table

CONTINUOUS = "continuous"
"""The directory next to the backups that contains all changes in between (``continuous.py``)."""
MANIFEST, EVIDENCE = "manifest.json", "evidence.jsonl"
VERSION = 1
_POLL_SECONDS = 0.2
Kind = Literal["manual", "nightly", "safety", "migration"]
"""`safety`: the database that a restore replaced. `migration`: the database before a schema change."""
Outcome = Literal["ok", "failed", "inconclusive"]


class Manifest(TypedDict):
    """A backup's metadata, known without reading its data."""

    version: int
    id: str
    kind: Kind
    pinned: bool
    """Whether it is exempt from pruning."""
    created: str
    """The time of the database state that it contains; ISO 8601, UTC."""
    database: str
    revision: str | None
    floor: str | None
    sqlite: str
    digests: str
    """The algorithm of the tables' digests."""
    tables: dict[str, Table]
    data: Data
    seconds: dict[str, float]


class Evidence(TypedDict):
    """The result of one verification."""

    time: str
    level: str
    """The highest level reached: L0 hash, L1 decode, L2 integrity, L3 digests, L4 the application answers."""
    outcome: Outcome
    seen: str
    seconds: float


@dataclass(frozen=True)
class Backup:
    """One backup in its directory."""

    directory: Path
    manifest: Manifest
    evidence: tuple[Evidence, ...]

    @property
    def id(self) -> str:
        """The backup's name; names sort by time."""
        return self.manifest["id"]

    @property
    def file(self) -> Path:
        """The data file."""
        return self.directory / self.manifest["data"]["file"]

    @property
    def created(self) -> datetime:
        """The time of the database state that it contains."""
        return datetime.fromisoformat(self.manifest["created"])

    @property
    def verified(self) -> bool:
        """Whether the last conclusive verification succeeded."""
        conclusive = [one for one in self.evidence if one["outcome"] != "inconclusive"]
        return bool(conclusive) and conclusive[-1]["outcome"] == "ok"

    @property
    def readings(self) -> tuple[Evidence, ...]:
        """All later verifications: the first line is from its creation."""
        return self.evidence[1:]

    def summary(self) -> dict[str, Any]:
        """Return the row for `list`. An inconclusive verification does not hide an earlier conclusive one."""
        conclusive = [one for one in self.evidence if one["outcome"] != "inconclusive"] or [*self.evidence]
        manifest, last = self.manifest, conclusive[-1] if conclusive else None
        return {
            "id": self.id,
            "kind": manifest["kind"],
            "pinned": manifest["pinned"],
            "created": manifest["created"],
            "bytes": manifest["data"]["bytes"],
            "plain_bytes": manifest["data"]["plain_bytes"],
            "encrypted": bool(manifest["data"]["recipients"]),
            "revision": manifest["revision"],
            "rows": sum(table["rows"] for name, table in manifest["tables"].items() if not name.startswith("sqlite_")),
            "verified": self.verified,
            "level": last["level"] if last else None,
            "checked": last["time"] if last else None,
        }


def now() -> str:
    """Return the current time in the manifests' format."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(directory: Path) -> Backup:
    """Return the backup in a directory. Raises StewardError if there is none."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise StewardError(f"{directory.name} was made by another version of ppmctl: {manifest['version']}")
        backup = Backup(directory, manifest, tuple(_evidence(directory / EVIDENCE)))
        backup.summary()
    except FileNotFoundError:
        raise StewardError(f"there is no backup {directory.name}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StewardError(f"{directory.name}/{MANIFEST} is not a valid manifest: {error!r}") from error
    return backup


def _evidence(file: Path) -> Iterator[Evidence]:
    """Yield each line's record; after a crash, the last line may be incomplete."""
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def catalog(backups: Path) -> list[Backup]:
    """Return the backups, oldest first. A directory without a readable manifest is skipped."""
    readable = []
    for manifest in sorted(backups.glob(f"[!.]*/{MANIFEST}")):
        try:
            readable.append(read(manifest.parent))
        except StewardError:
            continue
    return readable


def regular(backups: Sequence[Backup]) -> list[Backup]:
    """Return the backups of the then-current database, without those of databases that a restore replaced."""
    return [each for each in backups if each.manifest["kind"] != "safety"]


def find(backups: Path, name: str) -> Backup:
    """Return a backup by its id; "latest" is the newest verified one. Raises StewardError."""
    if name != "latest":
        if Path(name).name != name:
            raise StewardError(f"not the id of a backup: {name}")
        return read(backups / name)
    verified = [backup for backup in catalog(backups) if backup.verified]
    if not verified:
        raise StewardError("there is no verified backup")
    return verified[-1]


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest, which makes the directory a valid backup."""
    with published(directory / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    sync(directory.parent)


def add_evidence(directory: Path, evidence: Evidence) -> None:
    """Append the result of a verification to the backup's evidence."""
    file = directory / EVIDENCE
    incomplete = file.exists() and file.stat().st_size and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as out:
        out.write(("\n" if incomplete else "") + json.dumps(evidence) + "\n")
        out.flush()
        os.fsync(out.fileno())


def remove(backup: Path) -> None:
    """Remove a backup: its manifest first, because without it the rest is not a backup."""
    (backup / MANIFEST).unlink(missing_ok=True)
    sync(backup)
    shutil.rmtree(backup)


@contextmanager
def alone(backups: Path, lock_timeout: float = 0) -> Iterator[None]:
    """Lock the backups for the duration of the block, so that no other process creates, prunes or verifies them.

    Raises StewardError if another process still holds the lock after ``lock_timeout`` seconds.
    """
    try:
        backups.mkdir(parents=True, exist_ok=True)
        lock = (backups / ".lock").open("w", encoding="utf-8")
    except PermissionError as error:
        raise StewardError(f"{backups} is not writable; on the host it must belong to user {os.getuid()}") from error
    with lock:
        deadline = time.monotonic() + lock_timeout
        while not _locked(lock):
            if time.monotonic() >= deadline:
                raise StewardError("another backup, verification or prune is running")
            time.sleep(_POLL_SECONDS)
        yield


def _locked(lock: IO[str]) -> bool:
    """Try to take the lock; return whether it succeeded."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
