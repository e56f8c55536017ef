"""The worker's process: a scheduler that stops when told to, and lets the scan in flight end."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler

from app import schema
from app.database import Database
from app.models import now
from app.settings import Settings
from app.worker.git import Git
from app.worker.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from app.worker.scans import PASS_SECONDS, Scanner

SCAN_DEADLINE_SECONDS = 300.0
SPARE_SECONDS = 5
"""Of the time to drain: for cutting a scan short, giving the lease back and closing the database."""
log = logging.getLogger(__name__)


def run(settings: Settings, database: Database) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = threading.Event()
    for sort in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sort, lambda *_: stop.set())
    if not schema.await_fit(database, stop):
        return
    heartbeat, git = Heartbeat(database), Git(mirrors(database), SCAN_DEADLINE_SECONDS)
    scanner = Scanner(heartbeat, git, settings.ppm_release, timedelta(minutes=settings.scan_interval_minutes))
    scheduler = _schedule(heartbeat, scanner)
    log.info("working")
    stop.wait()
    _drain(scheduler, scanner, max(1, settings.drain_seconds - SPARE_SECONDS))
    heartbeat.leave()
    database.close()
    log.info("done")


def mirrors(database: Database) -> Path:
    """Return where mirrors lie: beside the SQLite file, on the volume; without one, in the temporary directory."""
    return (database.file.parent if database.file else Path(tempfile.gettempdir())) / "mirrors"


def _schedule(heartbeat: Heartbeat, scanner: Scanner) -> BackgroundScheduler:
    scheduler = BackgroundScheduler(timezone=UTC)
    # A run that is late is still made, once; the default would skip it after a second.
    every: dict[str, Any] = {"max_instances": 1, "coalesce": True, "misfire_grace_time": 3600, "next_run_time": now()}
    scheduler.add_job(
        heartbeat.beat, "interval", (scanner.release,), seconds=HEARTBEAT_SECONDS, id="heartbeat", **every
    )
    scheduler.add_job(scanner.run_pass, "interval", seconds=PASS_SECONDS, id="scan", **every)
    scheduler.add_job(scanner.clean, "interval", hours=1, id="clean", **every)
    scheduler.start()
    return scheduler


def _drain(scheduler: BackgroundScheduler, scanner: Scanner, seconds: float) -> None:
    """Let the scan in flight end, the heartbeat going on; cut it short when the time is over."""
    log.info("leaving: the scan in flight ends")
    scanner.stopping.set()
    if not scanner.idle.wait(seconds):
        scanner.git.cancel()
    scheduler.shutdown(wait=True)
