"""Copy the state that a read transaction on a live database sees, at the speed of the disk.

In WAL mode (https://sqlite.org/walformat.html) a transaction sees, for each page, the newest frame in the -wal up to
the last frame at the transaction's start; if there is none, the page in the file. While the transaction lasts:

- only a checkpoint writes to the file, and it copies only frames that the transaction sees as well;
- the -wal is not restarted, unless all of it was in the file when the transaction began. In that case the transaction
  reads only the file, and no process writes to it. The salts in the -wal's index show a restart.

So the file can be copied while other processes write. Whatever state each copied page has, even a torn one, applying
those frames turns it into what the transaction sees. The frames are copied, too, and SQLite itself applies them, as it
does after a crash. In other journal modes, no process writes to the file while another one reads.
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
"""Bytes: a block that fits into the CPU cache, and the amount that is written back while the next is copied."""
_WAL_HEADER, _FRAME_HEADER = 32, 24
_INDEX = struct.Struct("=I12xI12x8s8x")
"""The header of the -wal's index, which occurs twice: version, number of the last frame, salts."""
_INDEX_VERSION = 3007000


class _Wal(NamedTuple):
    """The part of the -wal that the transaction sees."""

    file: FileIO
    shm: FileIO
    frames: int
    salts: bytes


@dataclass(frozen=True)
class Pinned:
    """The state of a database that one transaction sees."""

    connection: apsw.Connection
    """The connection that holds the transaction."""
    bytes: int
    """The size of a copy."""
    others_write: bool
    """Whether other processes can write in the meantime."""
    _page: int
    _file: FileIO
    _wal: _Wal | None

    def copy(self, target: Path, pace: Pace) -> None:
        """Write the state to ``target``, without a final fsync. Raises StewardError."""
        _copy(self._file, target, self.bytes, pace)
        if self._wal and self._wal.frames:
            self._apply(self._wal, target, pace)

    def _apply(self, wal: _Wal, target: Path, pace: Pace) -> None:
        """Copy the -wal's frames and apply them to the copy."""
        wal_copy = target.with_name(f"{target.name}-wal")
        _copy(wal.file, wal_copy, _WAL_HEADER + wal.frames * (_FRAME_HEADER + self._page), pace)
        if any(_INDEX.unpack(header)[2] != wal.salts for header in _headers(wal.shm)):
            wal_copy.unlink()  # the -wal was restarted, so all frames were in the file
            return
        with closing(apsw.Connection(str(target))) as copy:
            copy.execute("PRAGMA synchronous=OFF")
            [(_, valid, applied)] = copy.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        if (valid, applied) != (wal.frames, wal.frames):
            raise _damaged(self._file, f"its -wal holds {valid} whole frames of {wal.frames}")


@contextmanager
def pinned(database: Path) -> Iterator[Pinned]:
    """Yield the current state of the database, fixed for the duration of the block; other processes may write."""
    # The files must be closed after SQLite's own connection: closing one earlier would drop this process's locks
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
    live.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # the first read fixes the transaction's state


def _begin_at(live: apsw.Connection, file: FileIO, shm: FileIO) -> _Wal:
    """Restart the transaction until no other process commits during its start; return the -wal as it sees it."""
    while True:
        live.execute("ROLLBACK")
        before = _headers(shm)
        _begin(live)
        if before[0] == before[1] and before == _headers(shm):
            break
    version, frames, salts = _INDEX.unpack(before[0])
    if version != _INDEX_VERSION:
        raise StewardError(f"the -wal's index has an unsupported version: {version}")
    return _Wal(file, shm, frames, salts)


def _headers(shm: FileIO) -> tuple[bytes, bytes]:
    """Return both headers of the -wal's index: they differ while a process changes them."""
    both = os.pread(shm.fileno(), 2 * _INDEX.size, 0)
    return both[: _INDEX.size], both[_INDEX.size :]


def _copy(source: FileIO, target: Path, size: int, pace: Pace) -> None:
    """Copy the first ``size`` bytes of a file; missing bytes become zeros. Raises Damaged if it cannot be read."""
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
                # Only a little is written back at a time: other processes' commits would wait behind it.
                write_out(out, done - _STEP, _STEP)
                write_out(out, max(0, done - 2 * _STEP), _STEP, wait=True)
                need_room(target.parent, 0)
                pace.keep(done)
        out.truncate(size)


def _write(out: FileIO, block: memoryview, offset: int) -> None:
    while block:
        count = os.pwrite(out.fileno(), block, offset)
        block, offset = block[count:], offset + count


def _damaged(file: FileIO, reason: str) -> Damaged:
    return Damaged(f"{Path(str(file.name)).name} is damaged: {reason}")


def _number(connection: apsw.Connection, pragma: str) -> int:
    """Return the integer value of a pragma."""
    return int(connection.pragma(pragma))
