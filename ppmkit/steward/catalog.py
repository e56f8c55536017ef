"""The backups in a directory: each has a directory of its own, and is one only once its manifest is there.

backups/<id>/ppm.db.zst.age   the database, compressed and encrypted
backups/<id>/manifest.json    what it is and what it holds; written last, never edited
backups/<id>/evidence.jsonl   every time it was verified: when, how far, what came of it
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
"""What lies beside them: every change in between (``continuous.py``)."""
MANIFEST, EVIDENCE = "manifest.json", "evidence.jsonl"
VERSION = 1
_POLL_SECONDS = 0.2
Kind = Literal["manual", "nightly", "safety", "migration"]
"""`safety`: what a restore replaced. `migration`: what there was before the schema changed."""
Outcome = Literal["ok", "failed", "inconclusive"]


class Manifest(TypedDict):
    """What is known of a backup without reading it."""

    version: int
    id: str
    kind: Kind
    pinned: bool
    """Nothing removes it but a person."""
    created: str
    """When the state of the database was that which it holds; ISO 8601, UTC."""
    database: str
    revision: str | None
    floor: str | None
    sqlite: str
    digests: str
    """How those of the tables are made."""
    tables: dict[str, Table]
    data: Data
    seconds: dict[str, float]


class Evidence(TypedDict):
    """How one verification went."""

    time: str
    level: str
    """The highest that was reached: L0 hash, L1 decode, L2 integrity, L3 digests, L4 the application answers."""
    outcome: Outcome
    seen: str
    seconds: float


@dataclass(frozen=True)
class Backup:
    """One backup, where it lies."""

    directory: Path
    manifest: Manifest
    evidence: tuple[Evidence, ...]

    @property
    def id(self) -> str:
        """Its name; in the order of time."""
        return self.manifest["id"]

    @property
    def file(self) -> Path:
        """The data."""
        return self.directory / self.manifest["data"]["file"]

    @property
    def created(self) -> datetime:
        """The moment that it holds."""
        return datetime.fromisoformat(self.manifest["created"])

    @property
    def verified(self) -> bool:
        """Whether it was sound when it was last looked at."""
        conclusive = [one for one in self.evidence if one["outcome"] != "inconclusive"]
        return bool(conclusive) and conclusive[-1]["outcome"] == "ok"

    @property
    def readings(self) -> tuple[Evidence, ...]:
        """Every time that it was read back since: the first line is of its making."""
        return self.evidence[1:]

    def summary(self) -> dict[str, Any]:
        """Return what `list` shows; what says nothing of the backup does not hide what was known before."""
        telling = [one for one in self.evidence if one["outcome"] != "inconclusive"] or [*self.evidence]
        manifest, last = self.manifest, telling[-1] if telling else None
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
    """Return this moment as manifests have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(directory: Path) -> Backup:
    """Return the backup in a directory. Raises StewardError when there is none."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise StewardError(f"{directory.name} is of another version of ppmctl: {manifest['version']}")
        backup = Backup(directory, manifest, tuple(_evidence(directory / EVIDENCE)))
        backup.summary()
    except FileNotFoundError:
        raise StewardError(f"there is no backup {directory.name}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StewardError(f"{directory.name}/{MANIFEST} is no manifest: {error!r}") from error
    return backup


def _evidence(file: Path) -> Iterator[Evidence]:
    """Yield what the lines say; the last one may be torn by a crash."""
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def catalog(backups: Path) -> list[Backup]:
    """Return the backups, oldest first. What has no readable manifest is none."""
    found = []
    for manifest in sorted(backups.glob(f"[!.]*/{MANIFEST}")):
        try:
            found.append(read(manifest.parent))
        except StewardError:
            continue
    return found


def regular(backups: Sequence[Backup]) -> list[Backup]:
    """Return those that hold what the database was when they were made; what a restore replaced is not such a one."""
    return [each for each in backups if each.manifest["kind"] != "safety"]


def find(backups: Path, name: str) -> Backup:
    """Return a backup by its id, or by "latest" the newest that is verified. Raises StewardError."""
    if name != "latest":
        if Path(name).name != name:
            raise StewardError(f"not the id of a backup: {name}")
        return read(backups / name)
    verified = [backup for backup in catalog(backups) if backup.verified]
    if not verified:
        raise StewardError("there is no verified backup")
    return verified[-1]


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Make a backup of what lies in the directory."""
    with published(directory / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    sync(directory.parent)


def add_evidence(directory: Path, evidence: Evidence) -> None:
    """Keep how a verification went, beside the backup."""
    file = directory / EVIDENCE
    torn = file.exists() and file.stat().st_size and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as out:
        out.write(("\n" if torn else "") + json.dumps(evidence) + "\n")
        out.flush()
        os.fsync(out.fileno())


def remove(backup: Path) -> None:
    """Remove a backup: its manifest first, for without it the rest is none."""
    (backup / MANIFEST).unlink(missing_ok=True)
    sync(backup)
    shutil.rmtree(backup)


@contextmanager
def alone(backups: Path, patience: float = 0) -> Iterator[None]:
    """Let nobody else make, prune or verify backups here for as long as the block lasts.

    Raises StewardError when somebody else still does after so many seconds.
    """
    try:
        backups.mkdir(parents=True, exist_ok=True)
        lock = (backups / ".lock").open("w", encoding="utf-8")
    except PermissionError as error:
        raise StewardError(
            f"{backups} cannot be written to; on the host it must belong to user {os.getuid()}"
        ) from error
    with lock:
        deadline = time.monotonic() + patience
        while not _taken(lock):
            if time.monotonic() >= deadline:
                raise StewardError("another backup, verification or pruning is at work here")
            time.sleep(_POLL_SECONDS)
        yield


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
