"""A read transaction on a live database, and a copy of what it sees that is made at the speed of the disk.

In WAL mode (https://sqlite.org/walformat.html) a transaction sees, of each page, the newest frame in the -wal up to
the one that was the last when it began; where there is none, the file. For as long as the transaction lasts,

- nobody writes to the file but a checkpoint, and that brings over only frames that the transaction sees as well;
- nobody begins the -wal anew, unless all of it was in the file when the transaction began. Then the transaction looks
  at the file alone, and nobody writes to that. The salts in the -wal's index tell.

So the file may be copied while others write. Whatever state each of its pages had, were it half of one: with those
frames over it, it is what the transaction sees. The frames are copied too, and SQLite itself brings them over, as it
does after a crash. In the other journal modes nobody writes to the file while somebody reads.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import apsw

from ..errors import Damaged, StewardError
from ..files import need_room, write_out
from ..throttle import Pace
from .database import open_for_reading

_BLOCK, _STEP = 1 << 18, 1 << 20
"""Bytes: what stays in the processor's cache, and what is on its way to the disk while the next is copied."""
_WAL_HEADER, _FRAME_HEADER = 32, 24
_INDEX = struct.Struct("=I12xI12x8s8x")
"""What the -wal's index begins with, twice: version, number of the last frame, salts."""
_INDEX_VERSION = 3007000


class _Wal(NamedTuple):
    """The -wal, as far as the transaction sees it."""

    file: FileIO
    shm: FileIO
    frames: int
    salts: bytes


@dataclass(frozen=True)
class Pinned:
    """What one transaction sees of a database."""

    connection: apsw.Connection
    """In that transaction."""
    bytes: int
    """How large a copy is."""
    others_write: bool
    """Whether others can write meanwhile."""
    _page: int
    _file: FileIO
    _wal: _Wal | None

    def copy(self, target: Path, pace: Pace) -> None:
        """Write it to ``target``, which is not brought to the disk. Raises StewardError."""
        _copy(self._file, target, self.bytes, pace)
        if self._wal and self._wal.frames:
            self._bring_over(self._wal, target, pace)

    def _bring_over(self, wal: _Wal, target: Path, pace: Pace) -> None:
        beside = target.with_name(f"{target.name}-wal")
        _copy(wal.file, beside, _WAL_HEADER + wal.frames * (_FRAME_HEADER + self._page), pace)
        if any(_INDEX.unpack(header)[2] != wal.salts for header in _headers(wal.shm)):
            beside.unlink()  # begun anew: all was in the file
            return
        with closing(apsw.Connection(str(target))) as copy:
            copy.execute("PRAGMA synchronous=OFF")
            [(_, found, brought)] = copy.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        if (found, brought) != (wal.frames, wal.frames):
            raise _damaged(self._file, f"its -wal holds {found} whole frames of {wal.frames}")


@contextmanager
def pinned(database: Path) -> Iterator[Pinned]:
    """Yield what the database holds at this moment, for as long as the block lasts; others write meanwhile."""
    # The files are closed after SQLite's own connection: to close one earlier would drop the locks of this process
    # (fcntl(2)).
    with ExitStack() as files, closing(open_for_reading(database)) as live:

        def opened(suffix: str = "") -> FileIO:
            return files.enter_context(FileIO(f"{database}{suffix}"))

        _begin(live)
        file, wal = opened(), None
        if live.pragma("journal_mode") == "wal":
            wal = _begin_at(live, opened("-wal"), opened("-shm"))
        page = _number(live, "page_size")
        yield Pinned(live, _number(live, "page_count") * page, wal is not None, page, file, wal)


def _begin(live: apsw.Connection) -> None:
    live.execute("BEGIN")
    live.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # only now it sees one state


def _begin_at(live: apsw.Connection, file: FileIO, shm: FileIO) -> _Wal:
    """Begin the transaction until nobody has committed while it began; return the -wal as it sees it."""
    while True:
        live.execute("ROLLBACK")
        before = _headers(shm)
        _begin(live)
        if before[0] == before[1] and before == _headers(shm):
            break
    version, frames, salts = _INDEX.unpack(before[0])
    if version != _INDEX_VERSION:
        raise StewardError(f"the -wal's index is of another version: {version}")
    return _Wal(file, shm, frames, salts)


def _headers(shm: FileIO) -> tuple[bytes, bytes]:
    """Return both headers of the -wal's index: they differ while somebody changes them."""
    both = os.pread(shm.fileno(), 2 * _INDEX.size, 0)
    return both[: _INDEX.size], both[_INDEX.size :]


def _copy(source: FileIO, target: Path, size: int, pace: Pace) -> None:
    """Copy the beginning of a file; what it lacks is zeros. Raises Damaged when it cannot be read."""
    block = memoryview(bytearray(_BLOCK))
    done = 0
    with FileIO(target, "xb") as out:
        while done < size:
            try:
                count = os.preadv(source.fileno(), [block[: size - done]], done)
            except OSError as error:
                raise _damaged(source, str(error.strerror)) from error
            if not count:
                break
            _write(out, block[:count], done)
            done += count
            if done % _STEP == 0:
                # Little is on its way to the disk at a time: others would wait behind it with their commits.
                write_out(out, done - _STEP, _STEP)
                write_out(out, max(0, done - 2 * _STEP), _STEP, wait=True)
                need_room(target.parent, 0)
                pace.keep(done)
        out.truncate(size)


def _write(out: FileIO, block: memoryview, offset: int) -> None:
    while block:
        count = os.pwrite(out.fileno(), block, offset)
        block, offset = block[count:], offset + count


def _damaged(file: FileIO, said: str) -> Damaged:
    return Damaged(f"{Path(str(file.name)).name} is damaged: {said}")


def _number(connection: apsw.Connection, pragma: str) -> int:
    """Return a pragma's number."""
    return int(connection.pragma(pragma))
