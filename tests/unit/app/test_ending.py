"""api and worker end in time, whatever still runs in them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest
from anyio.from_thread import BlockingPortal

from app import ending
from app.api.certificate import Certificate, CertificateOut
from app.database import Database
from tests.support.processes import end

SEEN = CertificateOut(names=["ppm.test"], issuer="CN=a CA", ends=datetime(2030, 1, 1, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "CANCEL_SECONDS", 0.5)


_API = """
import asyncio, threading, time, sys
from app import logs
from app.api.certificate import Certificate
from app.database import Database
from app.listener import listen
from app.serve import Server, create_app
from app.settings import Settings
import uvicorn

async def swallow(_):
    while True:
        try:
            await asyncio.sleep(300)
        except asyncio.CancelledError:
            pass

async def block(_):
    try:
        await asyncio.sleep(300)
    finally:
        time.sleep(300)

Certificate._watch = {"swallow": swallow, "block": block}[sys.argv[1]]
settings = Settings(certificate_address="nowhere:1")
logs.configure(settings)
app = create_app(settings, Database(settings.database_url))
config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
Server(config, app.state.ppm).run([listen("127.0.0.1", 0)])
"""
_WORKER = """
import time
from datetime import timedelta
from app import logs
from app.database import Database
from app.settings import Settings
from app.worker.job import Job
from app.worker.run import run

def scan_for_ever(run):
    print("begun", flush=True)
    time.sleep(300)

settings = Settings()
logs.configure(settings)
run(settings, Database(settings.database_url), [Job("stuck", timedelta(seconds=1), scan_for_ever)])
"""


def test_a_cancellation_counts_that_comes_as_the_certificate_is_seen(portal: BlockingPortal) -> None:
    seen = asyncio.Event()

    class Instant(Certificate):
        async def _look(self) -> CertificateOut:
            seen.set()  # wakes up the other task at the very moment that this one ends
            return SEEN

    async def watch_a_moment() -> float:
        async with asyncio.timeout(10):
            async with Instant("proxy:8443", "https://ppm.test").watched():
                await seen.wait()
                began = time.monotonic()
            return time.monotonic() - began

    assert portal.call(watch_a_moment) < ending.CANCEL_SECONDS


def test_a_task_that_swallows_its_cancellation_once_is_cancelled_again(portal: BlockingPortal) -> None:
    async def swallow_once() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def end() -> bool:
        task = asyncio.create_task(swallow_once())
        await asyncio.sleep(0)
        return await ending.cancel(task) == set() and task.cancelled()

    assert portal.call(end)


def test_a_task_that_goes_on_is_named_and_left_behind(portal: BlockingPortal, caplog: pytest.LogCaptureFixture) -> None:
    async def end() -> bool:
        over = asyncio.Event()

        async def swallow() -> None:
            while not over.is_set():
                with suppress(asyncio.CancelledError):
                    await over.wait()

        task = asyncio.create_task(swallow(), name="stubborn")
        await asyncio.sleep(0)
        left = await ending.cancel(task)
        over.set()
        await task
        return left == {task}

    with caplog.at_level(logging.ERROR, "app.ending"):
        assert portal.call(end)

    assert "the task stubborn keeps running although it was canceled twice" in caplog.text


@contextmanager
def process(script: str, *argv: str, database: Database, drain_seconds: int) -> Iterator[subprocess.Popen[str]]:
    environment = {"PATH": os.environ["PATH"], "APP_ENV": "test", "DATABASE_URL": str(database.url)}
    environment |= {"DRAIN_SECONDS": str(drain_seconds), "LEAVE_SECONDS": "0"}
    started = subprocess.Popen(
        [sys.executable, "-c", script, *argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        end(started)


@pytest.mark.parametrize(
    ("how", "drain_seconds", "said"),
    [
        ("swallow", 60, "the task certificate keeps running although it was canceled twice: it is abandoned"),
        ("block", 3, "Running threads: MainThread in block"),
    ],
)
def test_an_api_with_a_task_that_does_not_end_leaves_in_time(
    database: Database, how: str, drain_seconds: int, said: str
) -> None:
    with process(_API, how, database=database, drain_seconds=drain_seconds) as api:
        heard = read_until(api, "Application startup complete")
        api.send_signal(signal.SIGTERM)
        rest, _ = api.communicate(timeout=30)

    assert said in heard + rest
    assert api.returncode == 1


def test_a_worker_with_a_job_that_does_not_end_leaves_in_time(database: Database) -> None:
    with process(_WORKER, database=database, drain_seconds=3) as worker:
        read_until(worker, "begun")
        worker.send_signal(signal.SIGTERM)
        rest, _ = worker.communicate(timeout=30)

    assert "still running 3 s after the signal to stop" in rest
    assert "in scan_for_ever" in rest
    assert worker.returncode == 1


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read what a process prints up to a line with these words."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"it ended without saying {words!r}: {''.join(lines)}")
