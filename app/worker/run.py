"""The worker's process: a scheduler that requests each job's lease, and gives the leases back when told to stop.

A worker that starts while another is active is on standby: it sends heartbeats and requests leases, but does nothing
without a lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from prometheus_client import start_http_server

from app import ending, metrics, schema
from app.database import Database
from app.models import now
from app.settings import Settings
from app.signals import Signals
from app.worker.heartbeat import HEARTBEAT_SECONDS, Heartbeat, worker_name
from app.worker.job import EPOCH, Job, Runner
from app.worker.lease import Leases

SPARE_SECONDS = 5
"""The part of the drain time for cutting a run short, giving its lease back and closing the database."""
STEP_SECONDS = 1.0
"""How far the clock must be set back to be noticed."""
log = logging.getLogger(__name__)


def run(settings: Settings, database: Database, jobs: Sequence[Job]) -> None:
    """Run the jobs, or wait on standby, until SIGTERM or SIGINT."""
    metrics.watch(database, settings.ppm_release)
    if settings.metrics_port:
        start_http_server(settings.metrics_port)
    signals = Signals()
    if not schema.await_fit(database, signals.told):
        return
    leases = Leases(database, worker_name())
    heartbeat = Heartbeat(leases, settings.ppm_release)
    runners = [Runner(job, leases, settings.ppm_release) for job in jobs]
    scheduler = schedule(heartbeat, runners)
    log.info("worker %s has started", leases.worker)
    ahead = time.time() - time.monotonic()
    while not signals.told(1):
        before, ahead = ahead, time.time() - time.monotonic()
        if ahead < before - STEP_SECONDS:
            log.warning("the clock was set back by %.0f s", before - ahead)
            reschedule(scheduler)
    ending.leave_within(settings.drain_seconds)
    _drain(scheduler, runners, max(1, settings.drain_seconds - SPARE_SECONDS))
    heartbeat.leave()
    database.close()
    log.info("done")


def schedule(heartbeat: Heartbeat, runners: Sequence[Runner]) -> BackgroundScheduler:
    """Return a scheduler that sends heartbeats, and checks each job at times that are the same in every worker."""
    scheduler = BackgroundScheduler(timezone=UTC)
    # A late run still happens, once; by default it would be skipped after a second.
    once: dict[str, Any] = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
    scheduler.add_job(heartbeat.beat, "interval", seconds=HEARTBEAT_SECONDS, next_run_time=now(), **once)
    for runner in runners:
        seconds = runner.job.poll.total_seconds()
        scheduler.add_job(runner.tick, IntervalTrigger(seconds=seconds, start_date=EPOCH), **once)
    scheduler.start()
    return scheduler


def reschedule(scheduler: BackgroundScheduler) -> None:
    """Restart every schedule: after the clock was set back, the next run would be late by the same amount."""
    for job in scheduler.get_jobs():
        job.reschedule(job.trigger)


def _drain(scheduler: BackgroundScheduler, runners: Sequence[Runner], seconds: float) -> None:
    """Give back the leases of idle jobs, and let runs in flight end, while heartbeats continue; cut the runs short when
    the time is over."""
    log.info("stopping: waiting for runs in flight")
    until = time.monotonic() + seconds
    for runner in runners:
        runner.stop()
    for runner in runners:
        if not runner.idle.wait(max(0, until - time.monotonic())) and runner.job.cut_short:
            runner.job.cut_short()
    scheduler.shutdown(wait=True)
