"""`steward serve`: backups, copies of them elsewhere and drills, on a schedule.

Each task is a process of its own, which may be killed at any time: what it leaves behind, the next one removes. So the
steward can be stopped within a moment when somebody needs the database alone, and catches up when it is back.
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
"""A run that comes late is done all the same, and several that do are one (APScheduler would leave them out)."""


class Service:
    """Runs tasks one after another, and tells how they go."""

    def __init__(self, told: Settings) -> None:
        self._told, self._since = told, _now()
        self._backup, self._drill = schedule.trigger(told.at), schedule.trigger([told.drill])
        self._scheduler = BackgroundScheduler(
            timezone=UTC, executors={"default": ThreadPoolExecutor(1)}, job_defaults=_SETTINGS
        )
        self._failures: dict[str, Failure] = {}
        self._child: subprocess.Popen[str] | None = None
        self._guard, self._ended = threading.RLock(), False
        wanted = told.continuous
        self._shipping = Shipping(told, wanted, self._shipping_failed) if wanted else None

    def start(self) -> None:
        """Plan every task; what was missed is due at once, and so are copies that a target may lack."""
        now, backups = _now(), catalog.catalog(self._told.backups)
        made = [each.created for each in catalog.regular(backups) if each.verified]
        read = [datetime.fromisoformat(one["time"]) for each in backups for one in each.readings]
        first = schedule.due(self._backup, max(made, default=None), now)
        # Without a backup there is nothing to drill yet; where there is none of before, the schedule says when.
        drill = schedule.due(self._drill, max(read, default=now), now)
        self._scheduler.add_job(self._make, self._backup, id="backup", next_run_time=first)
        self._scheduler.add_job(self._prove, self._drill, id="drill", next_run_time=drill)
        if first > now:  # else they follow it
            self._plan_copies()
        self._scheduler.start()
        if self._shipping:
            self._shipping.start()
        self.tell()

    def end(self) -> None:
        """Stop whatever runs."""
        with self._guard:
            self._ended = True
            if self._child is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._child.pid, signal.SIGKILL)
        self._scheduler.shutdown(wait=False)
        if self._shipping:
            self._shipping.end()

    def tell(self) -> None:
        """Write down how it goes. A disk that is too full for that is told by what stays as it was."""
        with self._guard:
            if self._ended:
                return
            shipped, now = self._shipped(), _now()
            found = facts(
                catalog.catalog(self._told.backups),
                self._failures,
                now=now,
                since=self._since,
                objective=self._told.objective,
                next_backup=self._next("backup", now),
                next_drill=self._next("drill", now),
                continuous=shipped,
            )
            try:
                write(self._told.facts, found)
            except OSError as error:
                _say(f"cannot tell how it goes: {error}")

    def _shipped(self) -> list[dict[str, str]] | None:
        """Return from when to when any moment can be had, and note how shipping goes."""
        if self._shipping is None:
            return None
        try:
            found = continuous.spans(self._told.backups)
            wrong = self._shipping.ailment()
        except (StewardError, OSError) as error:
            found, wrong = [], str(error)
        if wrong:
            self._note(CONTINUOUS, wrong)
        elif self._shipping.runs:  # why it does not was told when it ended
            self._failures.pop(CONTINUOUS, None)
        return found

    def _shipping_failed(self, said: str) -> None:
        self._note(CONTINUOUS, said)
        self.tell()

    def _note(self, task: str, said: str) -> int:
        """Remember that a task has failed once more; return how often in a row that is."""
        with self._guard:
            times = self._failures.get(task, {"times": 0})["times"] + 1
            self._failures[task] = {"times": times, "said": said}
        _say(f"{task} has failed: {said}")
        return times

    def _next(self, task: str, now: datetime) -> datetime:
        job = self._scheduler.get_job(task)
        found: datetime = job.next_run_time if job else now
        return found

    def _make(self) -> None:
        """Make a backup, remove what no rule keeps; then copies are due, of earlier ones in any case."""
        went_well = self._attempt("backup", lambda: self._run("nightly"), self._backup)
        if went_well and self._told.heartbeat:
            self._attempt("heartbeat", self._beat)
        self._plan_copies()

    def _prove(self) -> None:
        self._attempt("drill", lambda: self._run("prove"))  # another try the same day would say the same

    def _copy(self, target: str) -> None:
        name = f"copy to {target}"
        if not self._attempt(name, lambda: self._run("copies", target)) and name in self._failures:
            self._plan_copy(target, schedule.retry(None, self._failures[name]["times"], _now()))

    def _plan_copies(self) -> None:
        for target in self._told.targets:
            self._plan_copy(target, _now())

    def _plan_copy(self, target: str, when: datetime) -> None:
        with self._guard:
            if not self._ended:
                options = {"id": f"copy to {target}", "replace_existing": True}
                self._scheduler.add_job(self._copy, "date", run_date=when, args=[target], **options)

    def _attempt(self, task: str, act: Callable[[], Any], trigger: Any = None) -> bool:
        """Do it and return whether it went well; else it is tried again, later each time."""
        try:
            said = act()
        except (StewardError, OSError, ValueError) as error:
            if self._ended:
                return False
            times = self._note(task, str(error))
            if trigger is not None:
                self._scheduler.modify_job(task, next_run_time=schedule.retry(trigger, times, _now()))
            return False
        else:
            self._failures.pop(task, None)
            _say(f"{task}: {json.dumps(said)}")
            return True
        finally:
            self.tell()

    def _run(self, *command: str) -> Any:
        """Run a command of the steward; return what it answers. Raises StewardError with its last words."""
        argv = [sys.executable, "-m", str(__package__), *command]
        with self._guard:
            if self._ended:
                raise StewardError("the steward ends")
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                start_new_session=True,
            )
            self._child = child
        said, trouble = child.communicate()
        with self._guard:
            self._child = None
        if child.returncode != 0:
            words = trouble.strip().splitlines() or [f"it ended with status {child.returncode}"]
            raise StewardError(words[-1].removeprefix("steward: "))
        return json.loads(said)

    def _beat(self) -> str:
        """Tell whoever watches from outside that there is a backup, and that it was verified."""
        assert self._told.heartbeat is not None, "nobody wants to hear of it"
        url = self._told.heartbeat.read_text(encoding="utf-8").strip()
        if not url.startswith(("https://", "http://")):
            raise StewardError("the secret heartbeat_url is no URL")
        try:
            with urllib.request.urlopen(url, timeout=15) as answer:  # noqa: S310 (looked at above)
                return f"status {answer.status}"
        except OSError as error:  # its text may hold the URL, which is a secret
            raise StewardError(f"the heartbeat did not get through: {type(error).__name__}") from None


def _now() -> datetime:
    return datetime.now(UTC)


def _say(text: str) -> None:
    print(f"{_now():%FT%TZ} {text}", flush=True)


def serve() -> None:
    """Run until SIGTERM."""
    ends = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ends.set())
    service = Service(settings())
    service.start()
    while not ends.wait(_LOOK_SECONDS):
        service.tell()
    service.end()
