"""Keep one Litestream process running as long as the steward runs. Each start begins a new generation.

It is configured not to disturb writers: it runs no blocking checkpoint (`truncate-page-n: 0`).
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
from .settings import Continuous, Settings
from .sqlite.locks import alone

_LOCAL = ".litestream"
"""Litestream's own metadata about the current generation."""
_GRACE_SECONDS = 5.0
_STEADY_SECONDS = 3600.0
"""After a run of at least this duration, the backoff starts again."""
_LATE = timedelta(seconds=60)


class Shipping:
    """Runs Litestream, and reports its problems."""

    def __init__(self, config: Settings, continuous: Continuous, failed: Callable[[str], None]) -> None:
        self._config, self._continuous, self._failed = config, continuous, failed
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._generation: Generation | None = None

    def start(self) -> None:
        """Start shipping; failures are retried with backoff."""
        threading.Thread(target=self._keep, daemon=True).start()

    def end(self) -> None:
        """Stop shipping. All commits so far are shipped first if that takes only a moment."""
        self._stop.set()
        if (child := self._child) is None:
            return
        child.terminate()
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()  # its files are written atomically, and the next generation does not need them

    def ailment(self) -> str | None:
        """Return the problem of a running Litestream, or None. The failure of one that ended was already reported."""
        if self._child is None or self._generation is None:
            return None
        last = Generation(self._generation.directory).last
        shipped = last.time if last else None
        written = _written(self._config.database)
        if shipped is None or written - shipped <= _LATE:
            return None
        return f"changes since {shipped:%F %T} UTC are not shipped"

    @property
    def runs(self) -> bool:
        """Whether Litestream is running."""
        return self._child is not None

    def _keep(self) -> None:
        """Restart Litestream whenever it ends, until shipping is stopped."""
        times = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                message = f"Litestream ended with status {self._ship()}"
            except (StewardError, OSError) as error:
                message = str(error)
            if self._stop.is_set():
                return
            times = 1 if time.monotonic() - began > _STEADY_SECONDS else times + 1
            self._failed(message)
            now = datetime.now(UTC)
            self._stop.wait((schedule.retry(None, times, now) - now).total_seconds())

    def _ship(self) -> int:
        """Run Litestream until it ends; return its exit status."""
        database, backups = self._config.database, self._config.backups
        if not database.is_file():
            raise StewardError(f"there is no {database}")
        (backups / CONTINUOUS).mkdir(mode=0o700, exist_ok=True)
        continuous.prune(backups, self._continuous.keep, datetime.now(UTC))
        need_room(backups, database.stat().st_size)
        with alone(database):  # wait until any replacement of the database is finished
            pass
        shutil.rmtree(backups / CONTINUOUS / _LOCAL, ignore_errors=True)  # else it would continue the old numbering
        directory = backups / CONTINUOUS / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
            json.dump(instructions(database, directory, self._continuous), config)  # JSON is valid YAML
            config.flush()
            self._generation = Generation(directory)
            argv = [continuous.litestream(), "replicate", "-config", config.name]
            with subprocess.Popen(argv, env=continuous.variables()) as child:
                self._child = child
                if self._stop.is_set():  # end() was called before the child existed
                    child.terminate()
                status = child.wait()
            self._child = None
        return status


def instructions(database: Path, directory: Path, settings: Continuous) -> dict[str, Any]:
    """Return Litestream's configuration (https://litestream.io/reference/config).

    Twice the required period is kept, because no time before the oldest remaining snapshot can be restored.
    """
    interval, keep, retention = (_go(span) for span in (settings.interval, settings.keep, 2 * settings.keep))
    return {
        "logging": {"level": "warn"},
        "snapshot": {"interval": keep, "retention": retention},
        "l0-retention": retention,
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
    """Return a duration in Go's format."""
    return f"{span.total_seconds() * 1000:.0f}ms"


def _written(database: Path) -> datetime:
    """Return the time of the last write to the database."""
    wal = database.with_name(f"{database.name}-wal")
    times = [path.stat().st_mtime for path in (database, wal) if path.exists()]
    return datetime.fromtimestamp(max(times, default=0), UTC)
