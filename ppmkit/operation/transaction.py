"""Run a list of steps as a transaction on one host: journal, deadlines, undo, and error messages."""

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
from ppmkit.orchestrator.stack import Stack, inspect
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
    """One operation on one host: its intent, the host's state, and what has been done so far."""

    host: Host
    intent: Intent
    stack: Stack
    files: Path
    """A directory on this machine with the Compose files: new.yaml of the new release, old.yaml of the live one."""
    who: str
    progress: Progress
    secrets: dict[str, Secret] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    """Manual changes on the host."""
    change: Change | None = None
    """The change to the database, if any."""
    resumed: Unfinished | None = None
    """The operation's state when it was interrupted, if it is resumed."""
    findings: Findings = field(default_factory=Findings)
    """The steps' findings; the journal keeps them."""
    log: Log = field(default_factory=Log)
    """The proxy's access log."""
    traffic: Traffic = field(default_factory=Traffic)
    """The answers that users got since the operation began, as far as they were read."""
    bytes_sent: int = 0
    times: list[StepTime] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when Ctrl-C was pressed while several hosts are upgraded at once."""

    @property
    def environment(self) -> Environment:
        """The environment of the host."""
        return self.host.environment

    @property
    def release(self) -> Release:
        """The release that is to serve."""
        return self.intent.release

    @property
    def target(self) -> Color:
        """The color that will serve."""
        return self.intent.target

    @property
    def compose(self) -> DockerClient:
        """A Compose client for the release that is to serve."""
        return self.host.compose(self.files / NEW)

    @property
    def old_compose(self) -> DockerClient:
        """A Compose client for the release that served when the operation began."""
        return self.host.compose(self.files / OLD)

    @property
    def migrator(self) -> DockerClient:
        """A Compose client for the release whose image changes the database."""
        return self.old_compose if self.change and self.change.of_live else self.compose

    def up(self, service: str) -> None:
        """Let Compose start one service of the new release, or replace its container."""
        self.compose.compose.up([service], detach=True, dependencies=False, no_build=True, quiet=True)

    def note(self, findings: Findings) -> None:
        """Update the findings; the journal keeps them beyond this process."""
        self.findings = self.findings.updated(findings)

    @property
    def held(self) -> bool:
        """Whether requests wait while the database changes."""
        return self.findings.way == "hold"

    def was_done(self, step: str) -> bool:
        """Return whether the step was done before the operation was interrupted."""
        return self.resumed is not None and step in self.resumed.done

    @property
    def snapshot(self) -> str:
        """The path on the volume of the copy of the database from before this operation."""
        return str(self.environment.database.parent / paths.SNAPSHOTS / f"{self.intent.operation}.db")

    def refresh(self) -> Stack:
        """Inspect the host again; return its stack."""
        self.stack = inspect(self.host)
        return self.stack


def _always(_: Operation) -> bool:
    return True


def _default_deadline(operation: Operation) -> float:
    """Return a step's seconds: the sum of the config's limits, and a reserve for the engine."""
    limits = operation.environment.upgrade
    watched = limits.bake + limits.canary_step * len(operation.intent.canary)
    return (limits.ready_timeout + limits.drain_timeout + limits.switch_timeout + watched).total_seconds() + 300


@dataclass(frozen=True)
class Step:
    """One step: what it does, how it is undone, and whether it is final, that is, cannot be undone."""

    name: str
    do: Callable[[Operation], str]
    """Returns the step's outcome in a few words."""
    undo: Callable[[Operation], None] | None = None
    when: Callable[[Operation], bool] = _always
    deadline: Callable[[Operation], float] = _default_deadline
    """Seconds after which the step counts as failed, whatever it waits for."""
    final: bool = False


def run(operation: Operation, steps: Sequence[Step]) -> None:
    """Run the steps on the host. Raises the error that stopped them, after undoing what was done.

    An interrupted operation is resumed: each step checks what need not be done again. A failure after the final step is
    not undone: the operation stays unfinished.
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
        result = _run_step(operation, step, undos)
        if step.final:
            reversible = False
            undos.clear()
        operation.times.append(result)
        operation.progress.done(operation.host.name, step.name, result.seconds, result.outcome)
    write(operation, operation.intent.kind, "done")


def decided(steps: Sequence[Step], unfinished: Unfinished | None) -> bool:
    """Return whether an interrupted operation had done its final step, after which it cannot be undone."""
    return unfinished is not None and any(step.final and step.name in unfinished.done for step in steps)


def _run_step(operation: Operation, step: Step, undos: Sequence[Step]) -> StepTime:
    """Run one step; return its outcome. Raises the error that stopped it, after undoing ``undos``."""
    host, deadline = operation.host, step.deadline(operation)
    operation.progress.step(host.name, step.name)
    began = time.monotonic()
    try:
        write(operation, step.name, "begin", seconds=deadline)
        with host.within(deadline, operation.cancelled):
            host.rest(0)
            outcome = step.do(operation)
        seconds = round(time.monotonic() - began, 3)
        write(operation, step.name, "done", seconds=seconds, facts=operation.findings.texts() or None)
    except (Exception, KeyboardInterrupt) as error:
        operation.progress.failed(host.name, step.name, str(error) or "interrupted")
        raise _explained(operation, step, error, _undo(operation, step, error, undos)) from error
    return StepTime(name=step.name, seconds=seconds, outcome=outcome)


def undo(operation: Operation, steps: Sequence[Step]) -> None:
    """Undo these steps, the last one first, and journal it. Each undo checks what there is to do."""
    for step in reversed(steps):
        if step.undo:
            with operation.host.within(step.deadline(operation)):
                step.undo(operation)
            write(operation, step.name, "undone")
    write(operation, operation.intent.kind, "undone")


def _undo(operation: Operation, failed: Step, error: BaseException, undos: Sequence[Step]) -> str:
    """Undo; return a sentence about what serves now."""
    kind, name = operation.intent.kind, operation.environment.name
    try:
        with _ignore_sigint():
            operation.host.await_docker()
            write(operation, failed.name, "failed", error=str(error) or type(error).__name__)
            if undos:
                undo(operation, undos)
            stack = operation.refresh()
    except Exception as failure:
        return f"It could not be undone ({failure}); the next `ppmctl deploy`, `resume` or `abort` will handle it"
    if stack.live is None:
        return "Nothing serves yet: this was the first deployment"
    serves = f"Release {stack.release(stack.live)} serves ({stack.live})"
    return serves if undos else f"{serves}, but the {kind} has not finished: `ppmctl resume -e {name}` finishes it"


@contextmanager
def _ignore_sigint() -> Iterator[None]:
    """Ignore a second Ctrl-C while steps are undone. Signals reach the main thread only."""
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
    backup = f" {change.said.removeprefix('backup ')}" if kind == "restore" and change else ""
    again = f"ppmctl {kind}{backup} -e {operation.environment.name}"
    if isinstance(error, PpmctlError):
        return error.with_context(f"{error.message}. {state}", step=step.name, host=operation.host.name, next=again)
    if isinstance(error, KeyboardInterrupt):
        return OperationError(
            f"{operation.host.name}: interrupted. {state}", step=step.name, host=operation.host.name, next=again
        )
    seen = (error.stderr or "").strip() if isinstance(error, DockerException) else f"{type(error).__name__}: {error}"
    timed_out = isinstance(error, DockerException) and error.return_code == operation.host.TIMED_OUT
    problem = f"did not finish within {step.deadline(operation):g} s" if timed_out else "failed"
    return OperationError(
        f"{operation.host.name}: the step {step.name} {problem}. {state}",
        step=step.name,
        host=operation.host.name,
        seen=seen or None,
        next=again,
    )


def write(operation: Operation, what: str, outcome: Outcome, **more: object) -> None:
    """Append a line to the journal."""
    entry = journal.entry(operation.intent, operation.who, what, outcome, **more)
    operation.host.append(operation.environment.directory / journal.FILE, redacted_json(entry.document()))
