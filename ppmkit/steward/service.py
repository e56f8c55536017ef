"""`steward serve`: run backups, copies to targets and drills on a schedule.

Each task is a separate process that may be killed at any time; the next one removes its leftovers. So the steward can
be stopped immediately when an operation needs exclusive access to the database, and it catches up later.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from . import catalog, continuous, schedule
from .catalog import CONTINUOUS
from .errors import StewardError
from .report import Failure, facts, write
from .settings import Settings, settings
from .shipping import Shipping

_LOOK_SECONDS = 60
_SETTINGS: dict[str, Any] = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
"""A late run still happens, and several late runs become one (by default, APScheduler would skip them)."""


class Service:
    """Runs tasks one after another, and reports their results."""

    def __init__(self, config: Settings) -> None:
        self._config, self._since = config, _now()
        self._backup, self._drill = schedule.trigger(config.at), schedule.trigger([config.drill])
        self._scheduler = BackgroundScheduler(
            timezone=UTC, executors={"default": ThreadPoolExecutor(1)}, job_defaults=_SETTINGS
        )
        self._failures: dict[str, Failure] = {}
        self._child: subprocess.Popen[str] | None = None
        self._guard, self._ended = threading.RLock(), False
        continuous = config.continuous
        self._shipping = Shipping(config, continuous, self._shipping_failed) if continuous else None

    def start(self) -> None:
        """Schedule all tasks. Missed runs are due at once, and so are copies that a target may lack."""
        now, backups = _now(), catalog.catalog(self._config.backups)
        created = [each.created for each in catalog.regular(backups) if each.verified]
        drilled = [datetime.fromisoformat(one["time"]) for each in backups for one in each.readings]
        backup = schedule.due(self._backup, max(created, default=None), now)
        # Without a backup there is nothing to drill. The first drill runs at its scheduled time.
        drill = schedule.due(self._drill, max(drilled, default=now), now)
        self._scheduler.add_job(self._make, self._backup, id="backup", next_run_time=backup)
        self._scheduler.add_job(self._prove, self._drill, id="drill", next_run_time=drill)
        if backup > now:  # otherwise the backup task schedules them
            self._plan_copies()
        self._scheduler.start()
        if self._shipping:
            self._shipping.start()
        self.tell()

    def end(self) -> None:
        """Stop all tasks."""
        with self._guard:
            self._ended = True
            if self._child is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._child.pid, signal.SIGKILL)
        self._scheduler.shutdown(wait=False)
        if self._shipping:
            self._shipping.end()

    def tell(self) -> None:
        """Write the report. If the disk is full, the outdated report shows the problem."""
        with self._guard:
            if self._ended:
                return
            shipped, now = self._shipped(), _now()
            document = facts(
                catalog.catalog(self._config.backups),
                self._failures,
                now=now,
                since=self._since,
                objective=self._config.objective,
                next_backup=self._next("backup", now),
                next_drill=self._next("drill", now),
                continuous=shipped,
            )
            try:
                write(self._config.facts, document)
            except OSError as error:
                _log(f"cannot write the report: {error}")

    def _shipped(self) -> list[dict[str, str]] | None:
        """Return the time ranges that can be restored, and record the state of shipping."""
        if self._shipping is None:
            return None
        try:
            spans = continuous.spans(self._config.backups)
            problem = self._shipping.ailment()
        except (StewardError, OSError) as error:
            spans, problem = [], str(error)
        if problem:
            self._record_failure(CONTINUOUS, problem)
        elif self._shipping.runs:  # otherwise, the reason was recorded when it ended
            self._failures.pop(CONTINUOUS, None)
        return spans

    def _shipping_failed(self, message: str) -> None:
        self._record_failure(CONTINUOUS, message)
        self.tell()

    def _record_failure(self, task: str, message: str) -> int:
        """Record a failure of a task; return the number of consecutive failures."""
        with self._guard:
            times = self._failures.get(task, {"times": 0})["times"] + 1
            self._failures[task] = {"times": times, "said": message}
        _log(f"{task} failed: {message}")
        return times

    def _next(self, task: str, now: datetime) -> datetime:
        job = self._scheduler.get_job(task)
        time: datetime = job.next_run_time if job else now
        return time

    def _make(self) -> None:
        """Create a backup and remove those that no rule keeps; then, in any case, schedule copies to the targets."""
        succeeded = self._attempt("backup", lambda: self._run("nightly"), self._backup)
        if succeeded and self._config.heartbeat:
            self._attempt("heartbeat", self._beat)
        self._plan_copies()

    def _prove(self) -> None:
        self._attempt("drill", lambda: self._run("prove"))  # no retry: it would have the same result

    def _copy(self, target: str) -> None:
        name = f"copy to {target}"
        if not self._attempt(name, lambda: self._run("copies", target)) and name in self._failures:
            self._plan_copy(target, schedule.retry(None, self._failures[name]["times"], _now()))

    def _plan_copies(self) -> None:
        for target in self._config.targets:
            self._plan_copy(target, _now())

    def _plan_copy(self, target: str, when: datetime) -> None:
        with self._guard:
            if not self._ended:
                options = {"id": f"copy to {target}", "replace_existing": True}
                self._scheduler.add_job(self._copy, "date", run_date=when, args=[target], **options)

    def _attempt(self, task: str, act: Callable[[], Any], trigger: Any = None) -> bool:
        """Run a task and return whether it succeeded; if not, and it has a trigger, schedule a retry with backoff."""
        try:
            result = act()
        except (StewardError, OSError, ValueError) as error:
            if self._ended:
                return False
            times = self._record_failure(task, str(error))
            if trigger is not None:
                self._scheduler.modify_job(task, next_run_time=schedule.retry(trigger, times, _now()))
            return False
        else:
            self._failures.pop(task, None)
            _log(f"{task}: {json.dumps(result)}")
            return True
        finally:
            self.tell()

    def _run(self, *command: str) -> Any:
        """Run a steward command; return its result. Raises StewardError with its last line of output."""
        argv = [sys.executable, "-m", str(__package__), *command]
        with self._guard:
            if self._ended:
                raise StewardError("the steward is stopping")
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                start_new_session=True,
            )
            self._child = child
        output, errors = child.communicate()
        with self._guard:
            self._child = None
        if child.returncode != 0:
            lines = errors.strip().splitlines() or [f"it ended with status {child.returncode}"]
            raise StewardError(lines[-1].removeprefix("steward: "))
        return json.loads(output)

    def _beat(self) -> str:
        """Report a verified backup to the external monitoring service."""
        assert self._config.heartbeat is not None, "no heartbeat is configured"
        url = self._config.heartbeat.read_text(encoding="utf-8").strip()
        if not url.startswith(("https://", "http://")):
            raise StewardError("the secret heartbeat_url is not a URL")
        try:
            with urllib.request.urlopen(url, timeout=15) as answer:  # noqa: S310 (the scheme is checked above)
                return f"status {answer.status}"
        except OSError as error:  # its text may contain the URL, which is a secret
            raise StewardError(f"the heartbeat request failed: {type(error).__name__}") from None


def _now() -> datetime:
    return datetime.now(UTC)


def _log(text: str) -> None:
    print(f"{_now():%FT%TZ} {text}", flush=True)


def serve() -> None:
    """Run until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    service = Service(settings())
    service.start()
    while not stop.wait(_LOOK_SECONDS):
        service.tell()
    service.end()
