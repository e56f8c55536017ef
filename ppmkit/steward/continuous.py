"""Point-in-time recovery: Litestream ships every change in the WAL, so the database can be restored to any time.

backups/continuous/<id>/ltx/<level>/<first>-<last>.ltx   one run of Litestream, beginning with the whole database

Each run is a separate generation. Changes made while Litestream is not running (a hold, a restore) are in no file, so
generations are never combined. A level 0 file contains the commits since the previous file. Its time is when it was
shipped, so it contains no later commits (https://litestream.io/how-it-works).
"""

from __future__ import annotations

import bisect
import os
import re
import shutil
import struct
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from .catalog import CONTINUOUS
from .errors import StewardError
from .files import need_room, published
from .sqlite.database import open_for_reading, quoted, tables
from .sqlite.snapshot import sound

_LTX = re.compile(r"^([0-9a-f]{16})-([0-9a-f]{16})\.ltx$")
_CHANGES, _SNAPSHOTS = "0", "9"
"""Litestream's levels: single changes, and the whole database."""
_FIRST = f"{1:016x}"
_MEMORY = "224MiB"
_HEADER = struct.Struct(">4sIIIQQQ")
"""Magic, flags, page size, pages, first and last transaction, milliseconds (https://github.com/superfly/ltx)."""
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Position:
    """A state of the database that can be restored."""

    transaction: str
    """Litestream's number of its last transaction."""
    time: datetime
    """When it was shipped."""
    bytes: int
    """The size of the database."""


@dataclass(frozen=True)
class Generation:
    """One run of Litestream."""

    directory: Path

    @cached_property
    def first(self) -> Position | None:
        """The oldest state, or None if there is no complete one (yet)."""
        whole = [file for level in (_CHANGES, _SNAPSHOTS) for file in self._files(level) if file[0] == _FIRST]
        return self._position(min(whole, key=lambda file: file[1])) if whole else None

    @cached_property
    def last(self) -> Position | None:
        """The newest state."""
        return self._position(self._all[-1]) if self.first else None

    def at(self, moment: datetime) -> Position | None:
        """Return the newest state at or before a time; None if there is none, or if no later one was shipped yet."""
        if self.first is None or self.last is None or not self.first.time <= moment <= self.last.time:
            return None
        later = bisect.bisect_right(self._all, moment, key=lambda file: self._position(file).time)
        return max(self._position(self._all[later - 1]), self.first, key=lambda position: position.transaction)

    @cached_property
    def _all(self) -> list[tuple[str, str, str]]:
        """Every state, oldest first."""
        newest = {file[1]: file for level in (_SNAPSHOTS, _CHANGES) for file in self._files(level)}
        return [newest[transaction] for transaction in sorted(newest)]

    def _files(self, level: str) -> list[tuple[str, str, str]]:
        """Return (first transaction, last one, level) of every file."""
        folder = self.directory / "ltx" / level
        paths = folder.iterdir() if folder.is_dir() else ()
        return [(match[1], match[2], level) for path in paths if (match := _LTX.match(path.name))]

    def _position(self, file: tuple[str, str, str]) -> Position:
        """Return the position in a file's header. The modification time of a new file is not yet reliable."""
        path = self.directory / "ltx" / file[2] / f"{file[0]}-{file[1]}.ltx"
        with path.open("rb") as content:
            header = content.read(_HEADER.size)
        if not header.startswith(b"LTX"):
            raise StewardError(f"{path} is damaged")
        _, _, page, pages, _, _, milliseconds = _HEADER.unpack(header)
        time = _EPOCH + timedelta(milliseconds=milliseconds + 1)  # rounded up: the file has no later commits
        return Position(file[1], time, page * pages)


def generations(backups: Path) -> list[Generation]:
    """Return the generations that contain a complete state, oldest first."""
    folder = backups / CONTINUOUS
    paths = sorted(folder.glob("[!.]*")) if folder.is_dir() else []
    return [each for each in map(Generation, paths) if each.first]


def spans(backups: Path) -> list[dict[str, str]]:
    """Return [{first, last}], oldest first: the time ranges in which any time can be restored."""
    ranges = [(each.first, each.last) for each in generations(backups)]
    return [{"first": _text(first.time), "last": _text(last.time)} for first, last in ranges if first and last]


def prune(backups: Path, keep: timedelta, now: datetime) -> int:
    """Remove generations that ended before the retention period, and empty ones; return their number."""
    folder = backups / CONTINUOUS
    existing = [Generation(path) for path in folder.glob("[!.]*")]
    old = [each for each in existing if each.last is None or each.last.time < now - keep]
    for each in old:
        shutil.rmtree(each.directory)
    return len(old)


def recover(backups: Path, moment: datetime, target: Path) -> dict[str, Any]:
    """Reconstruct the database as it was at a time to ``target``, and verify it; return its summary.

    Raises StewardError if that time was not shipped or the result is damaged; then no file is left.
    """
    for generation in reversed(generations(backups)):
        if position := generation.at(moment):
            break
    else:
        raise StewardError(f"the state at {moment:%F %T} UTC was not shipped")
    target.parent.mkdir(parents=True, exist_ok=True)
    need_room(target.parent, position.bytes)
    with published(target) as partial:
        _restore(generation, position, partial)
        sound(partial)
        rows = _rows(partial)
    return {
        "id": f"{position.time:%Y%m%dT%H%M%S}{position.time.microsecond // 1000:03}",
        "created": _text(position.time),
        "rows": rows,
        "level": "L2",
    }


def _restore(generation: Generation, position: Position, target: Path) -> None:
    argv = [litestream(), "restore", "-txid", position.transaction, "-parallelism", "2", "-o", str(target)]
    result = subprocess.run(
        [*argv, generation.directory.as_uri()], env=variables(), capture_output=True, encoding="utf-8"
    )
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).strip().splitlines() or [f"status {result.returncode}"]
        raise StewardError(f"the shipped changes cannot be restored: {lines[-1]}")


def _rows(database: Path) -> int:
    with closing(open_for_reading(database, immutable=True)) as connection:
        counts = (connection.execute(f"SELECT count(*) FROM {quoted(name)}") for name in tables(connection))  # noqa: S608
        return sum(int(str(count)) for [(count,)] in map(list, counts))


def litestream() -> str:
    """Return the path of Litestream: it is installed next to Python."""
    return str(Path(sys.executable).with_name("litestream"))


def variables() -> dict[str, str]:
    """Return Litestream's environment variables: its garbage collector must keep it well below the memory limit."""
    return {"GOMEMLIMIT": _MEMORY, "PATH": os.environ.get("PATH", "")}


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
