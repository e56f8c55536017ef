"""Making a backup: a copy of one state of the live database, proven, as a file that can leave the host."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw

from . import catalog
from .archive import Data, pack, recipient
from .catalog import CONTINUOUS, Kind, Manifest
from .child import beside
from .errors import StewardError
from .files import need_local, need_room
from .sqlite.digest import ALGORITHM, Table
from .sqlite.schema import schema
from .sqlite.snapshot import copied, verify
from .throttle import WAL_CAP

COPY = "copy.db"
"""The plain copy while a backup is made; it never stays."""


@dataclass(frozen=True)
class Wishes:
    """How backups are made."""

    recipients: tuple[str, ...] = ()
    """Public keys of age or SSH; none: not encrypted."""
    deadline: float = 3600
    wal_cap: int = WAL_CAP
    rate: int | None = None
    """Bytes a second at most, while the live database is read."""
    patience: float = 0
    """Seconds that may pass until another one at work here has ended."""


def create(
    source: Path, backups: Path, wishes: Wishes, *, kind: Kind = "manual", pinned: bool = False
) -> dict[str, Any]:
    """Back up the live database; return {id, bytes, seconds, verified, …}.

    Raises StewardError, OSError or apsw.Error when it is not proven to hold what the database did; then there is no
    backup. Everything up to the digests is checked (L3) on what is published, not only on what it was made of.
    """
    for key in wishes.recipients:
        recipient(key)
    _refuse_what_is_none(source)
    with catalog.alone(backups, wishes.patience):
        sweep(backups)
        with _directory(backups / _name(datetime.now(UTC))) as directory:
            return _create(source, _New(directory, source.name, kind, pinned), wishes)


def _create(source: Path, new: _New, wishes: Wishes) -> dict[str, Any]:
    began = time.monotonic()
    need_room(new.directory, source.stat().st_size * 3 // 2)
    taken, packed = new.directory / COPY, new.directory / packed_name(source.name, wishes.recipients)
    with copied(source, taken, wishes.deadline, wal_cap=wishes.wal_cap, rate=wishes.rate) as proven:
        there = time.monotonic()
        with beside("pack", str(taken), str(packed), *wishes.recipients) as data:
            held = proven()
            packed_data = data()
    found = schema(taken, immutable=True)
    taken.unlink()
    return _publish(new, held, packed_data, found, {"copy": there - began, "prove_and_pack": time.monotonic() - there})


def file(
    copied: Path, backups: Path, wishes: Wishes, *, name: str, kind: Kind = "safety", seconds: float = 0
) -> dict[str, Any]:
    """Make a backup of a copy that nobody has open, of what was there before the database changed.

    It holds the database of ``seconds`` before it was last written to, and is called after that moment: a second time
    there is nothing to do. Raises StewardError when it is not sound.
    """
    if not copied.is_file():
        raise StewardError(f"there is no {copied}")
    written = datetime.fromtimestamp(copied.stat().st_mtime - seconds, UTC)
    there = backups / _name(written)
    with catalog.alone(backups, wishes.patience):
        sweep(backups)
        if there.exists():
            return catalog.read(there).summary()
        with _directory(there) as directory:
            new = _New(directory, name, kind, pinned=False, created=written.isoformat(timespec="milliseconds"))
            return _file(copied, new, wishes)


def _file(copied: Path, new: _New, wishes: Wishes) -> dict[str, Any]:
    began = time.monotonic()
    need_room(new.directory, copied.stat().st_size // 2)
    held = verify(copied)
    data = pack(copied, new.directory / packed_name(new.database, wishes.recipients), wishes.recipients)
    found = schema(copied, immutable=True)
    return _publish(new, held, data, found, {"prove_and_pack": time.monotonic() - began})


@dataclass(frozen=True)
class _New:
    """A backup that is being made."""

    directory: Path
    database: str
    kind: Kind
    pinned: bool
    created: str = field(default_factory=catalog.now)


def _publish(
    new: _New, held: dict[str, Table], data: Data, found: dict[str, str | None], stages: dict[str, float]
) -> dict[str, Any]:
    """Make a backup of what was proven; return what it is."""
    seconds = {name: round(value, 3) for name, value in stages.items()}
    total = round(sum(seconds.values()), 3)
    seen = "the copy is sound and holds what the database did; what was packed, decoded again, is that copy"
    catalog.add_evidence(
        new.directory, {"time": catalog.now(), "level": "L3", "outcome": "ok", "seen": seen, "seconds": total}
    )
    manifest = Manifest(
        version=catalog.VERSION,
        id=new.directory.name,
        kind=new.kind,
        pinned=new.pinned,
        created=new.created,
        database=new.database,
        revision=found["revision"],
        floor=found["floor"],
        sqlite=apsw.sqlite_lib_version(),
        digests=ALGORITHM,
        tables=held,
        data=data,
        seconds=seconds,
    )
    catalog.write_manifest(new.directory, manifest)
    return {**catalog.read(new.directory).summary(), "seconds": total, "stages": seconds}


def packed_name(database: str, recipients: Sequence[str]) -> str:
    """Return what the data of a backup is called."""
    return f"{database}.zst.age" if recipients else f"{database}.zst"


def _refuse_what_is_none(source: Path) -> None:
    """Raise StewardError for what looks like a database and would be backed up as nothing."""
    if not source.is_file():
        raise StewardError(f"there is no {source}")
    if source.stat().st_size == 0:
        raise StewardError(f"{source} is empty")
    need_local(source)


def _name(moment: datetime) -> str:
    """Return the id of a backup of that moment."""
    return f"{moment:%Y%m%dT%H%M%S%f}"[:-3]


@contextmanager
def _directory(directory: Path) -> Iterator[Path]:
    """Make the directory of a new backup, and yield it; it is gone when the block fails."""
    directory.mkdir(mode=0o750)
    try:
        yield directory
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def sweep(backups: Path) -> int:
    """Remove what was left by one that was killed while it made, fetched or removed a backup; return how many."""
    directories = [path for path in backups.iterdir() if path.is_dir() and path.name != CONTINUOUS]
    left = [path for path in directories if path.name.startswith(".") or not (path / catalog.MANIFEST).exists()]
    for directory in left:
        shutil.rmtree(directory)
    return len(left)
