"""How a list of steps becomes a transaction on one host: journal, deadlines, undo, and words for what stopped it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ppmkit.errors import OperationError, PpmctlError
from ppmkit.host import version
from ppmkit.operation import journal
from ppmkit.orchestrator.stack import Stack, look
from ppmkit.progress import Progress
from ppmkit.redact import redacted_json
from ppmkit.release.model import Color, Release, StepTime
from ppmkit.secrets.manage import Secret
from ppmkit.steward import places
from ppmkit.traffic.access_log import Log
from ppmkit.traffic.counts import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from python_on_whales import DockerClient

    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host
    from ppmkit.operation.journal import Change, Intent, Outcome, Unfinished
    from ppmkit.plan.drift import Drift

NEW, OLD = "new.yaml", "old.yaml"


@dataclass
class Upgrade:
    """One operation on one host: what is wanted, what was found, and what has been done so far."""

    host: Host
    intent: Intent
    stack: Stack
    files: Path
    """A directory on this machine with the Compose files: new.yaml of the release that is to serve, old.yaml."""
    who: str
    progress: Progress
    secrets: dict[str, Secret] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    """What somebody has changed on the host by hand."""
    change: Change | None = None
    """What is done to the database, if anything."""
    resumed: Unfinished | None = None
    """How far the operation had come before it was cut short."""
    facts: dict[str, str] = field(default_factory=dict)
    """What the steps found out; the journal keeps it."""
    log: Log = field(default_factory=Log)
    """The proxy's access log."""
    traffic: Traffic = field(default_factory=Traffic)
    """What users were answered since the operation began, as far as it was looked at."""
    bytes_sent: int = 0
    times: list[StepTime] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when Ctrl-C was pressed while several hosts are upgraded at once."""

    @property
    def environment(self) -> Environment:
        """The environment that is deployed."""
        return self.host.environment

    @property
    def release(self) -> Release:
        """The release that is to serve."""
        return self.intent.release

    @property
    def target(self) -> Color:
        """The colour that will serve."""
        return self.intent.target

    @property
    def compose(self) -> DockerClient:
        """The release that is to serve, as Compose knows it."""
        return self.host.compose(self.files / NEW)

    @property
    def old_compose(self) -> DockerClient:
        """The release that served when the operation began, as Compose knows it."""
        return self.host.compose(self.files / OLD)

    @property
    def doer(self) -> DockerClient:
        """The release whose image changes the database."""
        return self.old_compose if self.change and self.change.of_live else self.compose

    def note(self, **facts: str) -> None:
        """Remember what was found out, beyond this process."""
        self.facts |= facts

    def fact(self, name: str) -> str | None:
        """Return what was found out, by whoever was here before too."""
        return self.facts.get(name)

    def was_done(self, step: str) -> bool:
        """Return whether the step was done before the operation was cut short."""
        return self.resumed is not None and step in self.resumed.done

    @property
    def snapshot(self) -> str:
        """Where the copy of the database from before this operation lies on the volume."""
        return str(self.environment.database.parent / places.SNAPSHOTS / f"{self.intent.operation}.db")

    def look_again(self) -> Stack:
        """Return what is on the host now."""
        self.stack = look(self.host)
        return self.stack


def _always(_: Upgrade) -> bool:
    return True


def _patience(upgrade: Upgrade) -> float:
    """Return the seconds of a step that waits for what the config bounds, and some for the engine."""
    limits = upgrade.environment.upgrade
    watched = limits.bake + limits.canary_step * len(upgrade.intent.canary)
    return (limits.ready_timeout + limits.drain_timeout + limits.switch_timeout + watched).total_seconds() + 300


@dataclass(frozen=True)
class Step:
    """One step: what it does, how it is undone, and whether there is no way back after it."""

    name: str
    do: Callable[[Upgrade], str]
    """Returns what it did, in a few words."""
    undo: Callable[[Upgrade], None] | None = None
    when: Callable[[Upgrade], bool] = _always
    deadline: Callable[[Upgrade], float] = _patience
    """Seconds after which the step counts as failed, whatever it waits for."""
    final: bool = False


def run(upgrade: Upgrade, steps: Sequence[Step]) -> None:
    """Take the host through the steps. Raises what stopped it, after undoing what was done.

    An operation that was cut short goes on: its steps see for themselves what they need not do again. What fails after
    the final step is not undone: the operation stays unfinished.
    """
    version.record(upgrade.host)
    if upgrade.resumed is None:
        write(upgrade, upgrade.intent.kind, "begin", intent=upgrade.intent)
    reversible = upgrade.intent.reversible and not decided(steps, upgrade.resumed)
    undos: list[Step] = []
    for step in steps:
        if not step.when(upgrade):
            continue
        if reversible:
            undos.append(step)
        said = _take(upgrade, step, undos)
        if step.final:
            reversible = False
            undos.clear()
        upgrade.times.append(said)
        upgrade.progress.done(upgrade.host.name, step.name, said.seconds, said.outcome)
    write(upgrade, upgrade.intent.kind, "done")


def decided(steps: Sequence[Step], found: Unfinished | None) -> bool:
    """Return whether an operation that was cut short had done the step that there is no way back from."""
    return found is not None and any(step.final and step.name in found.done for step in steps)


def _take(upgrade: Upgrade, step: Step, undos: Sequence[Step]) -> StepTime:
    """Take one step; return how it went. Raises what stopped it, after undoing ``undos``."""
    host, deadline = upgrade.host, step.deadline(upgrade)
    upgrade.progress.step(host.name, step.name)
    began = time.monotonic()
    try:
        write(upgrade, step.name, "begin", seconds=deadline)
        with host.within(deadline, upgrade.cancelled):
            host.rest(0)
            said = step.do(upgrade)
        seconds = round(time.monotonic() - began, 3)
        write(upgrade, step.name, "done", seconds=seconds, facts=upgrade.facts or None)
    except (Exception, KeyboardInterrupt) as error:
        upgrade.progress.failed(host.name, step.name, str(error) or "interrupted")
        raise _explained(upgrade, step, error, _undo(upgrade, step, error, undos)) from error
    return StepTime(name=step.name, seconds=seconds, outcome=said)


def undo(upgrade: Upgrade, steps: Sequence[Step]) -> None:
    """Undo these steps, the last one first, and note it. Each undo looks for itself what there is to do."""
    for step in reversed(steps):
        if step.undo:
            with upgrade.host.within(step.deadline(upgrade)):
                step.undo(upgrade)
            write(upgrade, step.name, "undone")
    write(upgrade, upgrade.intent.kind, "undone")


def _undo(upgrade: Upgrade, failed: Step, error: BaseException, undos: Sequence[Step]) -> str:
    """Undo; return in words what serves now."""
    kind, name = upgrade.intent.kind, upgrade.environment.name
    try:
        with _deaf():
            upgrade.host.await_docker()
            write(upgrade, failed.name, "failed", error=str(error) or type(error).__name__)
            if undos:
                undo(upgrade, undos)
            live = upgrade.look_again()
    except Exception as lost:
        return f"It could not be undone ({lost}); the next `ppmctl deploy`, `resume` or `abort` does"
    if live.live is None:
        return "Nothing serves yet: this was the first deployment"
    serves = f"Release {live.release(live.live)} serves ({live.live})"
    return serves if undos else f"{serves}, but the {kind} has not ended: `ppmctl resume -e {name}` ends it"


@contextmanager
def _deaf() -> Iterator[None]:
    """Let no second Ctrl-C stop what is being undone. Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _explained(upgrade: Upgrade, step: Step, error: BaseException, state: str) -> PpmctlError:
    from python_on_whales import DockerException

    kind, change = upgrade.intent.kind, upgrade.intent.change
    what = f" {change.said.removeprefix('backup ')}" if kind == "restore" and change else ""
    again = f"ppmctl {kind}{what} -e {upgrade.environment.name}"
    if isinstance(error, PpmctlError):
        return error.with_context(f"{error.message}. {state}", step=step.name, host=upgrade.host.name, next=again)
    if isinstance(error, KeyboardInterrupt):
        return OperationError(
            f"{upgrade.host.name}: interrupted. {state}", step=step.name, host=upgrade.host.name, next=again
        )
    seen = (error.stderr or "").strip() if isinstance(error, DockerException) else f"{type(error).__name__}: {error}"
    late = isinstance(error, DockerException) and error.return_code == upgrade.host.TIMED_OUT
    what = f"did not end within {step.deadline(upgrade):g} s" if late else "failed"
    return OperationError(
        f"{upgrade.host.name}: the step {step.name} {what}. {state}",
        step=step.name,
        host=upgrade.host.name,
        seen=seen or None,
        next=again,
    )


def write(upgrade: Upgrade, what: str, outcome: Outcome, **more: object) -> None:
    """Write a line of the journal."""
    entry = journal.entry(upgrade.intent, upgrade.who, what, outcome, **more)
    upgrade.host.append(upgrade.environment.directory / journal.FILE, redacted_json(entry.document()))
