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
from ppmkit.operation.findings import Findings
from ppmkit.orchestrator.stack import Stack, look
from ppmkit.progress import Progress
from ppmkit.redact import redacted_json
from ppmkit.release.model import Color, Release, StepTime
from ppmkit.secrets.manage import Secret
from ppmkit.steward import paths
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
class Operation:
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
    findings: Findings = field(default_factory=Findings)
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
    def migrator(self) -> DockerClient:
        """The release whose image changes the database."""
        return self.old_compose if self.change and self.change.of_live else self.compose

    def note(self, found: Findings) -> None:
        """Remember what was found out, beyond this process."""
        self.findings = self.findings.updated(found)

    @property
    def held(self) -> bool:
        """Whether requests wait while the database changes."""
        return self.findings.way == "hold"

    def was_done(self, step: str) -> bool:
        """Return whether the step was done before the operation was cut short."""
        return self.resumed is not None and step in self.resumed.done

    @property
    def snapshot(self) -> str:
        """Where the copy of the database from before this operation lies on the volume."""
        return str(self.environment.database.parent / paths.SNAPSHOTS / f"{self.intent.operation}.db")

    def look_again(self) -> Stack:
        """Return what is on the host now."""
        self.stack = look(self.host)
        return self.stack


def _always(_: Operation) -> bool:
    return True


def _patience(operation: Operation) -> float:
    """Return the seconds of a step that waits for what the config bounds, and some for the engine."""
    limits = operation.environment.upgrade
    watched = limits.bake + limits.canary_step * len(operation.intent.canary)
    return (limits.ready_timeout + limits.drain_timeout + limits.switch_timeout + watched).total_seconds() + 300


@dataclass(frozen=True)
class Step:
    """One step: what it does, how it is undone, and whether there is no way back after it."""

    name: str
    do: Callable[[Operation], str]
    """Returns what it did, in a few words."""
    undo: Callable[[Operation], None] | None = None
    when: Callable[[Operation], bool] = _always
    deadline: Callable[[Operation], float] = _patience
    """Seconds after which the step counts as failed, whatever it waits for."""
    final: bool = False


def run(operation: Operation, steps: Sequence[Step]) -> None:
    """Take the host through the steps. Raises what stopped it, after undoing what was done.

    An operation that was cut short goes on: its steps see for themselves what they need not do again. What fails after
    the final step is not undone: the operation stays unfinished.
    """
    version.record(operation.host)
    if operation.resumed is None:
        write(operation, operation.intent.kind, "begin", intent=operation.intent)
    reversible = operation.intent.reversible and not decided(steps, operation.resumed)
    undos: list[Step] = []
    for step in steps:
        if not step.when(operation):
            continue
        if reversible:
            undos.append(step)
        said = _take(operation, step, undos)
        if step.final:
            reversible = False
            undos.clear()
        operation.times.append(said)
        operation.progress.done(operation.host.name, step.name, said.seconds, said.outcome)
    write(operation, operation.intent.kind, "done")


def decided(steps: Sequence[Step], found: Unfinished | None) -> bool:
    """Return whether an operation that was cut short had done the step that there is no way back from."""
    return found is not None and any(step.final and step.name in found.done for step in steps)


def _take(operation: Operation, step: Step, undos: Sequence[Step]) -> StepTime:
    """Take one step; return how it went. Raises what stopped it, after undoing ``undos``."""
    host, deadline = operation.host, step.deadline(operation)
    operation.progress.step(host.name, step.name)
    began = time.monotonic()
    try:
        write(operation, step.name, "begin", seconds=deadline)
        with host.within(deadline, operation.cancelled):
            host.rest(0)
            said = step.do(operation)
        seconds = round(time.monotonic() - began, 3)
        write(operation, step.name, "done", seconds=seconds, facts=operation.findings.texts() or None)
    except (Exception, KeyboardInterrupt) as error:
        operation.progress.failed(host.name, step.name, str(error) or "interrupted")
        raise _explained(operation, step, error, _undo(operation, step, error, undos)) from error
    return StepTime(name=step.name, seconds=seconds, outcome=said)


def undo(operation: Operation, steps: Sequence[Step]) -> None:
    """Undo these steps, the last one first, and note it. Each undo looks for itself what there is to do."""
    for step in reversed(steps):
        if step.undo:
            with operation.host.within(step.deadline(operation)):
                step.undo(operation)
            write(operation, step.name, "undone")
    write(operation, operation.intent.kind, "undone")


def _undo(operation: Operation, failed: Step, error: BaseException, undos: Sequence[Step]) -> str:
    """Undo; return in words what serves now."""
    kind, name = operation.intent.kind, operation.environment.name
    try:
        with _deaf():
            operation.host.await_docker()
            write(operation, failed.name, "failed", error=str(error) or type(error).__name__)
            if undos:
                undo(operation, undos)
            live = operation.look_again()
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


def _explained(operation: Operation, step: Step, error: BaseException, state: str) -> PpmctlError:
    from python_on_whales import DockerException

    kind, change = operation.intent.kind, operation.intent.change
    what = f" {change.said.removeprefix('backup ')}" if kind == "restore" and change else ""
    again = f"ppmctl {kind}{what} -e {operation.environment.name}"
    if isinstance(error, PpmctlError):
        return error.with_context(f"{error.message}. {state}", step=step.name, host=operation.host.name, next=again)
    if isinstance(error, KeyboardInterrupt):
        return OperationError(
            f"{operation.host.name}: interrupted. {state}", step=step.name, host=operation.host.name, next=again
        )
    seen = (error.stderr or "").strip() if isinstance(error, DockerException) else f"{type(error).__name__}: {error}"
    late = isinstance(error, DockerException) and error.return_code == operation.host.TIMED_OUT
    what = f"did not end within {step.deadline(operation):g} s" if late else "failed"
    return OperationError(
        f"{operation.host.name}: the step {step.name} {what}. {state}",
        step=step.name,
        host=operation.host.name,
        seen=seen or None,
        next=again,
    )


def write(operation: Operation, what: str, outcome: Outcome, **more: object) -> None:
    """Write a line of the journal."""
    entry = journal.entry(operation.intent, operation.who, what, outcome, **more)
    operation.host.append(operation.environment.directory / journal.FILE, redacted_json(entry.document()))
