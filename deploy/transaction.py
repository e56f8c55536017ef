"""How a list of steps becomes a transaction on one host: journal, undo, and words for what stopped it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from deploy import secrets
from deploy.errors import PpmctlError, UpgradeError
from deploy.metrics import Tally
from deploy.plan import Plan
from deploy.redact import redact
from deploy.release import Color, Release, Source, StepTime, journal_line
from deploy.stack import Stack, look

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from deploy.config import Environment
    from deploy.host import Host


class Watcher(Protocol):
    """Who is told how it goes."""

    def step(self, host: str, name: str) -> None:
        """A step begins."""

    def done(self, host: str, name: str, seconds: float, said: str) -> None:
        """A step ended well."""

    def failed(self, host: str, name: str, said: str) -> None:
        """A step failed."""

    def sent(self, host: str, sent: int, total: int) -> None:
        """So many bytes of so many are on the host."""


@dataclass
class Upgrade:
    """One upgrade of one host: what is wanted, what was found, and what has been done so far."""

    host: Host
    release: Release
    stack: Stack
    plan: Plan
    secrets: dict[str, secrets.Secret]
    source: Source
    who: str
    watcher: Watcher
    compose: DockerClient
    canary: tuple[int, ...] = ()
    """Shares of users in per cent, ascending; empty: all at once."""
    tally: Tally = field(default_factory=Tally)
    """What the proxy counted until the switch."""
    schema_before: str | None = None
    schema_after: str | None = None
    bytes_sent: int = 0
    times: list[StepTime] = field(default_factory=list)

    @property
    def environment(self) -> Environment:
        """The environment that is deployed."""
        return self.host.environment

    @property
    def target(self) -> Color:
        """The colour that will serve."""
        return self.plan.target

    def look_again(self) -> Stack:
        """Return what is on the host now."""
        self.stack = look(self.host)
        return self.stack


@dataclass(frozen=True)
class Step:
    """One step: what it does, how it is undone, and whether there is no way back after it."""

    name: str
    do: Callable[[Upgrade], str]
    """Returns what it did, in a few words."""
    undo: Callable[[Upgrade], None] | None = None
    final: bool = False


def run(upgrade: Upgrade, steps: Sequence[Step]) -> None:
    """Take the host through the steps. Raises what stopped it, after undoing what was done."""
    # An upgrade that is being finished has its users on the target already: there is no way back to undo to.
    reversible = upgrade.target != upgrade.stack.live
    undos: list[Step] = []
    for step in steps:
        upgrade.watcher.step(upgrade.host.name, step.name)
        began = time.monotonic()
        if step.undo and reversible:
            undos.append(step)
        try:
            _journal(upgrade, step.name, "begin")
            said = step.do(upgrade)
        except (Exception, KeyboardInterrupt) as error:
            upgrade.watcher.failed(upgrade.host.name, step.name, str(error) or "interrupted")
            raise _explained(upgrade, step, error, _undo(upgrade, step, error, undos)) from error
        seconds = round(time.monotonic() - began, 3)
        upgrade.times.append(StepTime(name=step.name, seconds=seconds, outcome=said))
        upgrade.watcher.done(upgrade.host.name, step.name, seconds, said)
        if step.final:
            undos.clear()
    _journal(upgrade, "deploy", "done")


def _undo(upgrade: Upgrade, failed: Step, error: BaseException, undos: list[Step]) -> str:
    """Undo in reverse; return in words what serves now. A second Ctrl-C does not stop it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _journal(upgrade, failed.name, "failed", error=str(error) or type(error).__name__)
        for step in reversed(undos):
            if step.undo:
                step.undo(upgrade)
                _journal(upgrade, step.name, "undone")
        live = upgrade.look_again()
    except Exception as lost:
        return f"It could not be undone ({lost}); the next `ppmctl deploy` does"
    finally:
        signal.signal(signal.SIGINT, before)
    if live.live is None:
        return "Nothing serves yet: this was the first deployment"
    return f"Release {live.release(live.live)} serves ({live.live})"


def _explained(upgrade: Upgrade, step: Step, error: BaseException, state: str) -> PpmctlError:
    from python_on_whales import DockerException

    again = f"ppmctl deploy -e {upgrade.environment.name}"
    if isinstance(error, PpmctlError):
        error.step, error.host = step.name, upgrade.host.name
        error.message = f"{error.message}. {state}"
        error.next = error.next or again
        return error
    if isinstance(error, KeyboardInterrupt):
        return UpgradeError(
            f"{upgrade.host.name}: interrupted. {state}", step=step.name, host=upgrade.host.name, next=again
        )
    seen = (error.stderr or "").strip() if isinstance(error, DockerException) else f"{type(error).__name__}: {error}"
    return UpgradeError(
        f"{upgrade.host.name}: the step {step.name} failed. {state}",
        step=step.name,
        host=upgrade.host.name,
        seen=seen,
        next=again,
    )


def _journal(upgrade: Upgrade, what: str, outcome: str, **more: str) -> None:
    line = journal_line(datetime.now(UTC), upgrade.who, what, outcome, release=upgrade.release.id, **more)
    upgrade.host.append(upgrade.environment.directory / "journal.jsonl", redact(line))
