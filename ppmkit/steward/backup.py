"""Create backups: a verified copy of one state of the live database, in a file that can leave the host."""

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
"""The temporary plain copy while a backup is created."""


@dataclass(frozen=True)
class Options:
    """Options for creating backups."""

    recipients: tuple[str, ...] = ()
    """Age or SSH public keys; without any, backups are not encrypted."""
    deadline: float = 3600
    wal_cap: int = WAL_CAP
    rate: int | None = None
    """Maximum bytes per second while the live database is read."""
    lock_timeout: float = 0
    """Seconds to wait for another operation on the backups to end."""


def create(
    source: Path, backups: Path, options: Options, *, kind: Kind = "manual", pinned: bool = False
) -> dict[str, Any]:
    """Back up the live database; return {id, bytes, seconds, verified, …}.

    Raises StewardError, OSError or apsw.Error unless the backup is proven to contain the database's rows; then no
    backup is left. The published file itself is verified up to the digests (L3), not only the copy it was made from.
    """
    for key in options.recipients:
        recipient(key)
    _refuse_unusable(source)
    with catalog.alone(backups, options.lock_timeout):
        sweep(backups)
        with _directory(backups / _name(datetime.now(UTC))) as directory:
            return _create(source, _New(directory, source.name, kind, pinned), options)


def _create(source: Path, new: _New, options: Options) -> dict[str, Any]:
    began = time.monotonic()
    need_room(new.directory, source.stat().st_size * 3 // 2)
    copy, packed = new.directory / COPY, new.directory / packed_name(source.name, options.recipients)
    with copied(source, copy, options.deadline, wal_cap=options.wal_cap, rate=options.rate) as prove:
        copy_done = time.monotonic()
        with beside("pack", str(copy), str(packed), *options.recipients) as pack_result:
            tables = prove()
            data = pack_result()
    revisions = schema(copy, immutable=True)
    copy.unlink()
    stages = {"copy": copy_done - began, "prove_and_pack": time.monotonic() - copy_done}
    return _publish(new, tables, data, revisions, stages)


def file(
    copied: Path, backups: Path, options: Options, *, name: str, kind: Kind = "safety", seconds: float = 0
) -> dict[str, Any]:
    """Create a backup from a copy that no process has open, made before the database changed.

    The copy is the database's state ``seconds`` before the copy was last written to. The backup's id is derived from
    that time, so a second call does nothing. Raises StewardError if the copy is damaged.
    """
    if not copied.is_file():
        raise StewardError(f"there is no {copied}")
    written = datetime.fromtimestamp(copied.stat().st_mtime - seconds, UTC)
    path = backups / _name(written)
    with catalog.alone(backups, options.lock_timeout):
        sweep(backups)
        if path.exists():
            return catalog.read(path).summary()
        with _directory(path) as directory:
            new = _New(directory, name, kind, pinned=False, created=written.isoformat(timespec="milliseconds"))
            return _file(copied, new, options)


def _file(copied: Path, new: _New, options: Options) -> dict[str, Any]:
    began = time.monotonic()
    need_room(new.directory, copied.stat().st_size // 2)
    tables = verify(copied)
    data = pack(copied, new.directory / packed_name(new.database, options.recipients), options.recipients)
    revisions = schema(copied, immutable=True)
    return _publish(new, tables, data, revisions, {"prove_and_pack": time.monotonic() - began})


@dataclass(frozen=True)
class _New:
    """A backup that is being created."""

    directory: Path
    database: str
    kind: Kind
    pinned: bool
    created: str = field(default_factory=catalog.now)


def _publish(
    new: _New, tables: dict[str, Table], data: Data, revisions: dict[str, str | None], stages: dict[str, float]
) -> dict[str, Any]:
    """Publish a verified backup; return its summary."""
    seconds = {name: round(value, 3) for name, value in stages.items()}
    total = round(sum(seconds.values()), 3)
    seen = "the copy is intact and has the same rows as the database; the archive decodes to that copy"
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
        revision=revisions["revision"],
        floor=revisions["floor"],
        sqlite=apsw.sqlite_lib_version(),
        digests=ALGORITHM,
        tables=tables,
        data=data,
        seconds=seconds,
    )
    catalog.write_manifest(new.directory, manifest)
    return {**catalog.read(new.directory).summary(), "seconds": total, "stages": seconds}


def packed_name(database: str, recipients: Sequence[str]) -> str:
    """Return the file name of a backup's data."""
    return f"{database}.zst.age" if recipients else f"{database}.zst"


def _refuse_unusable(source: Path) -> None:
    """Raise StewardError for a missing, empty or remote database, whose backup would be worthless."""
    if not source.is_file():
        raise StewardError(f"there is no {source}")
    if source.stat().st_size == 0:
        raise StewardError(f"{source} is empty")
    need_local(source)


def _name(moment: datetime) -> str:
    """Return the id of a backup from that time."""
    return f"{moment:%Y%m%dT%H%M%S%f}"[:-3]


@contextmanager
def _directory(directory: Path) -> Iterator[Path]:
    """Create the directory of a new backup and yield it; remove it if the block fails."""
    directory.mkdir(mode=0o750)
    try:
        yield directory
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def sweep(backups: Path) -> int:
    """Remove incomplete backups that killed processes left behind; return their number."""
    directories = [path for path in backups.iterdir() if path.is_dir() and path.name != CONTINUOUS]
    incomplete = [path for path in directories if path.name.startswith(".") or not (path / catalog.MANIFEST).exists()]
    for directory in incomplete:
        shutil.rmtree(directory)
    return len(incomplete)
