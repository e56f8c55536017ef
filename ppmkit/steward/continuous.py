"""Every change of the live database, as it was made: Litestream ships the WAL, and a moment of it can be had again.

backups/continuous/<id>/ltx/<level>/<first>-<last>.ltx   one run of Litestream, from the whole database on

Each run is a generation of its own. What was done to the database while none ran (a hold, a restore) is in no file, so
nothing is put together from two of them. A file of level 0 holds what was committed since the one before, and its time
is when it was shipped: it holds nothing that was committed later (https://litestream.io/how-it-works).
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
"""Litestream's levels: of every change, and of the whole database."""
_FIRST = f"{1:016x}"
_MEMORY = "224MiB"
_HEADER = struct.Struct(">4sIIIQQQ")
"""Magic, flags, page size, pages, first and last transaction, milliseconds (https://github.com/superfly/ltx)."""
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Position:
    """A state of the database that can be had."""

    transaction: str
    """Litestream's number of the last one in it."""
    time: datetime
    """When it was shipped."""
    bytes: int
    """How large the database was."""


@dataclass(frozen=True)
class Generation:
    """One run of Litestream."""

    directory: Path

    @cached_property
    def first(self) -> Position | None:
        """The oldest state, or None when there is no whole one (yet)."""
        whole = [file for level in (_CHANGES, _SNAPSHOTS) for file in self._files(level) if file[0] == _FIRST]
        return self._position(min(whole, key=lambda file: file[1])) if whole else None

    @cached_property
    def last(self) -> Position | None:
        """The newest state."""
        return self._position(self._all[-1]) if self.first else None

    def at(self, moment: datetime) -> Position | None:
        """Return the newest state that holds nothing of after a moment; None when there is none, or not yet a newer."""
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
        return [(found[1], found[2], level) for path in paths if (found := _LTX.match(path.name))]

    def _position(self, file: tuple[str, str, str]) -> Position:
        """Return what the header of a file says; that of the file system is not yet the time when it is new."""
        path = self.directory / "ltx" / file[2] / f"{file[0]}-{file[1]}.ltx"
        with path.open("rb") as content:
            header = content.read(_HEADER.size)
        if not header.startswith(b"LTX"):
            raise StewardError(f"{path} is damaged")
        _, _, page, pages, _, _, milliseconds = _HEADER.unpack(header)
        time = _EPOCH + timedelta(milliseconds=milliseconds + 1)  # it was cut off: nothing in it was committed later
        return Position(file[1], time, page * pages)


def generations(backups: Path) -> list[Generation]:
    """Return those that hold a state, oldest first."""
    folder = backups / CONTINUOUS
    found = sorted(folder.glob("[!.]*")) if folder.is_dir() else []
    return [each for each in map(Generation, found) if each.first]


def spans(backups: Path) -> list[dict[str, str]]:
    """Return [{first, last}], oldest first: each moment from the one to the other can be had."""
    found = [(each.first, each.last) for each in generations(backups)]
    return [{"first": _text(first.time), "last": _text(last.time)} for first, last in found if first and last]


def prune(backups: Path, keep: timedelta, now: datetime) -> int:
    """Remove generations that end before what is to be kept, and those that hold nothing; return how many."""
    folder = backups / CONTINUOUS
    found = [Generation(path) for path in folder.glob("[!.]*")]
    old = [each for each in found if each.last is None or each.last.time < now - keep]
    for each in old:
        shutil.rmtree(each.directory)
    return len(old)


def recover(backups: Path, moment: datetime, target: Path) -> dict[str, Any]:
    """Put together at ``target`` what the database was at a moment, and verify it; return what it is.

    Raises StewardError when that moment was not shipped, or the outcome is not sound; then there is none.
    """
    for generation in reversed(generations(backups)):
        if position := generation.at(moment):
            break
    else:
        raise StewardError(f"{moment:%F %T} UTC was not shipped")
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
    done = subprocess.run(
        [*argv, generation.directory.as_uri()], env=variables(), capture_output=True, encoding="utf-8"
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or [f"status {done.returncode}"]
        raise StewardError(f"what was shipped cannot be put together: {words[-1]}")


def _rows(database: Path) -> int:
    with closing(open_for_reading(database, immutable=True)) as connection:
        counts = (connection.execute(f"SELECT count(*) FROM {quoted(name)}") for name in tables(connection))  # noqa: S608
        return sum(int(str(count)) for [(count,)] in map(list, counts))


def litestream() -> str:
    """Return the program: it is installed beside Python."""
    return str(Path(sys.executable).with_name("litestream"))


def variables() -> dict[str, str]:
    """Return the environment variables that it runs with: it collects its garbage well within the memory limit."""
    return {"GOMEMLIMIT": _MEMORY, "PATH": os.environ.get("PATH", "")}


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
