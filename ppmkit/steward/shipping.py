"""Keeping one Litestream at work for as long as the steward runs: each time that it starts is a generation of its own.

It is told to leave alone what it would do to others: no checkpoint of it makes writers wait (`truncate-page-n: 0`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from . import continuous, schedule
from .catalog import CONTINUOUS
from .continuous import Generation
from .errors import StewardError
from .files import need_room
from .settings import Settings, Shipped
from .sqlite.locks import alone

_LOCAL = ".litestream"
"""Litestream's own notes about the generation at work."""
_GRACE_SECONDS = 5.0
_STEADY_SECONDS = 3600.0
"""One that ran for so long is tried again at once."""
_LATE = timedelta(seconds=60)


class Shipping:
    """Runs Litestream, and tells how it goes."""

    def __init__(self, told: Settings, wanted: Shipped, failed: Callable[[str], None]) -> None:
        self._told, self._wanted, self._failed = told, wanted, failed
        self._ends = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._generation: Generation | None = None

    def start(self) -> None:
        """Begin; whatever goes wrong is tried again, later each time."""
        threading.Thread(target=self._keep, daemon=True).start()

    def end(self) -> None:
        """Stop it; what was committed until now is shipped before, if that takes no more than a moment."""
        self._ends.set()
        if (child := self._child) is None:
            return
        child.terminate()
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()  # files are there as a whole or not at all, and the next generation needs none of them

    def ailment(self) -> str | None:
        """Return what is wrong with one that runs, or None; what has ended was told of then."""
        if self._child is None or self._generation is None:
            return None
        last = Generation(self._generation.directory).last
        shipped = last.time if last else None
        written = _written(self._told.database)
        if shipped is None or written - shipped <= _LATE:
            return None
        return f"what was written since {shipped:%F %T} UTC is not shipped"

    @property
    def runs(self) -> bool:
        """Whether it ships now."""
        return self._child is not None

    def _keep(self) -> None:
        times = 0
        while not self._ends.is_set():
            began = time.monotonic()
            try:
                said = f"Litestream ended with status {self._ship()}"
            except (StewardError, OSError) as error:
                said = str(error)
            if self._ends.is_set():
                return
            times = 1 if time.monotonic() - began > _STEADY_SECONDS else times + 1
            self._failed(said)
            now = datetime.now(UTC)
            self._ends.wait((schedule.retry(None, times, now) - now).total_seconds())

    def _ship(self) -> int:
        """Ship until Litestream ends; return its status."""
        database, backups = self._told.database, self._told.backups
        if not database.is_file():
            raise StewardError(f"there is no {database}")
        (backups / CONTINUOUS).mkdir(mode=0o700, exist_ok=True)
        continuous.prune(backups, self._wanted.keep, datetime.now(UTC))
        need_room(backups, database.stat().st_size)
        with alone(database):  # another one may be about to take its place
            pass
        shutil.rmtree(backups / CONTINUOUS / _LOCAL, ignore_errors=True)  # else it would go on with another's numbers
        directory = backups / CONTINUOUS / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
            json.dump(instructions(database, directory, self._wanted), config)  # JSON is YAML
            config.flush()
            self._generation = Generation(directory)
            argv = [continuous.litestream(), "replicate", "-config", config.name]
            with subprocess.Popen(argv, env=continuous.variables()) as child:
                self._child = child
                if self._ends.is_set():  # meanwhile: whoever ended this saw no child
                    child.terminate()
                status = child.wait()
            self._child = None
        return status


def instructions(database: Path, directory: Path, wanted: Shipped) -> dict[str, Any]:
    """Return Litestream's configuration (https://litestream.io/reference/config).

    Twice as much is kept as is wanted: of what lies before the oldest snapshot that is left, nothing can be had.
    """
    interval, keep, kept = (_go(span) for span in (wanted.interval, wanted.keep, 2 * wanted.keep))
    return {
        "logging": {"level": "warn"},
        "snapshot": {"interval": keep, "retention": kept},
        "l0-retention": kept,
        "l0-retention-check-interval": "5m",
        "dbs": [
            {
                "path": str(database),
                "meta-path": str(directory.with_name(_LOCAL)),
                "monitor-interval": interval,
                "truncate-page-n": 0,
                "replica": {"type": "file", "path": str(directory), "sync-interval": interval},
            }
        ],
    }


def _go(span: timedelta) -> str:
    """Return a time as Go writes it."""
    return f"{span.total_seconds() * 1000:.0f}ms"


def _written(database: Path) -> datetime:
    """Return when the database was last written to."""
    wal = database.with_name(f"{database.name}-wal")
    times = [path.stat().st_mtime for path in (database, wal) if path.exists()]
    return datetime.fromtimestamp(max(times, default=0), UTC)
