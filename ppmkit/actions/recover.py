"""`ppmctl resume` and `abort`: finish or undo an interrupted operation, which is in the host's journal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from ppmkit.config.environment import Environment, HostAddress, Model
from ppmkit.errors import HostError, UsageError
from ppmkit.host import version
from ppmkit.host.session import locked
from ppmkit.operation import journal, transaction, watch
from ppmkit.operation.hosts import on_each_host, opened
from ppmkit.orchestrator.stack import inspect
from ppmkit.release.records import compose_text
from ppmkit.restore.steps import RESTORE_STEPS
from ppmkit.upgrade.rollback import ROLLBACK_STEPS
from ppmkit.upgrade.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ppmkit.host.host import Host
    from ppmkit.operation.journal import Unfinished
    from ppmkit.operation.transaction import Step
    from ppmkit.progress import Progress
    from ppmkit.release.model import Release


class Recovery(Model):
    """The result on one host; `resume --json` and `abort --json` print one object per host."""

    host: str
    kind: str | None
    """deploy, rollback, restore; None when no operation was interrupted."""
    release: str | None
    outcome: str
    """finished, undone, or nothing."""
    serves: str | None
    seconds: float


def resume(environment: Environment, progress: Progress) -> list[Recovery]:
    """Finish the interrupted operation on every host. Raises the error that stops it, after undoing."""
    return on_each_host(environment, 1, lambda address, _: _recover(environment, address, progress, finish=True))


def abort(environment: Environment, progress: Progress) -> list[Recovery]:
    """Undo the interrupted operation on every host. Raises UsageError where it cannot be undone anymore."""
    return on_each_host(environment, 1, lambda address, _: _recover(environment, address, progress, finish=False))


def _recover(environment: Environment, address: HostAddress, progress: Progress, *, finish: bool) -> Recovery:
    began = time.monotonic()
    with locked(environment, address, "resume" if finish else "abort") as host:
        interrupted = unfinished(host)
        if interrupted and finish:
            resume_operation(host, interrupted, progress)
        elif interrupted:
            abort_operation(host, interrupted, progress)
        stack = inspect(host)
        return Recovery(
            host=host.name,
            kind=interrupted.intent.kind if interrupted else None,
            release=interrupted.intent.release.id if interrupted else None,
            outcome="nothing" if not interrupted else "finished" if finish else "undone",
            serves=stack.release(stack.live) if stack.live else None,
            seconds=round(time.monotonic() - began, 1),
        )


def unfinished(host: Host) -> Unfinished | None:
    """Return the host's interrupted operation, if any. Raises HostError when another version of ppmctl wrote it."""
    try:
        return journal.unfinished(journal.lines(host))
    except ValueError as error:
        raise HostError(
            f"{host.name}: the last operation has not finished, and another version of ppmctl started it",
            host=host.name,
            seen=str(error),
            next=f"Use the version that started it: ppmctl resume -e {host.environment.name}",
        ) from error


def end_unfinished(host: Host, wanted: Release | None, progress: Progress) -> None:
    """Finish or undo the host's interrupted operation, if any, before another one starts."""
    interrupted = unfinished(host)
    if interrupted is None:
        return
    if resolution(interrupted, wanted, placed=_placed(host, interrupted)) == "resume":
        resume_operation(host, interrupted, progress)
    else:
        abort_operation(host, interrupted, progress)


def resolution(interrupted: Unfinished, wanted: Release | None, *, placed: bool) -> Literal["resume", "abort"]:
    """Return what to do with an interrupted operation: resume it for the wanted release, abort it for any other.

    An operation past its final step is resumed in any case. ``placed``: the release's files are on the host.
    """
    same = wanted is not None and interrupted.intent.release.id == wanted.id
    return "resume" if (same and placed) or _decided(interrupted) else "abort"


def resume_operation(host: Host, interrupted: Unfinished, progress: Progress) -> None:
    """Run the operation's remaining steps. Raises UsageError when its files never arrived."""
    intent = interrupted.intent
    if not _placed(host, interrupted):
        raise UsageError(
            f"{host.name}: release {intent.release.id} had not arrived when the {intent.kind} stopped",
            next=f"ppmctl deploy -e {host.environment.name}, or ppmctl abort",
        )
    steps = _steps(interrupted)
    with opened(host, intent, inspect(host), progress, resumed=interrupted) as operation:
        transaction.run(operation, steps)


def abort_operation(host: Host, interrupted: Unfinished, progress: Progress) -> None:
    """Undo what the operation did. Raises UsageError when it is past its final step."""
    intent = interrupted.intent
    if _decided(interrupted):
        raise UsageError(
            f"{host.name}: users are on release {intent.release.id} already",
            next=f"ppmctl resume -e {host.environment.name} finishes the {intent.kind}; then ppmctl rollback",
        )
    # An earlier ppmctl had no step `watch`. Undoing its steps turns the access log on, and watch.end turns it off.
    begun = [step for step in _steps(interrupted) if step.name in interrupted.begun or step.undo is watch.end]
    with opened(host, intent, inspect(host), progress, resumed=interrupted) as operation:
        progress.step(host.name, "undoing")
        began = time.monotonic()
        version.record(host)
        transaction.undo(operation, begun if intent.reversible else [])
        progress.done(host.name, "undo", time.monotonic() - began, f"{intent.kind} of {interrupted.since:%F %T}")


def _steps(interrupted: Unfinished) -> Sequence[Step]:
    return {"deploy": STEPS, "rollback": ROLLBACK_STEPS, "restore": RESTORE_STEPS}[interrupted.intent.kind]


def _decided(interrupted: Unfinished) -> bool:
    return transaction.decided(_steps(interrupted), interrupted)


def _placed(host: Host, interrupted: Unfinished) -> bool:
    return compose_text(host, interrupted.intent.release.id) is not None
