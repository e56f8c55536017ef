"""`ppmctl resume` and `abort`: what becomes of an operation that was cut short. The host's journal knows of it."""

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
    """What became of it on one host; what `resume --json` and `abort --json` print of each."""

    host: str
    kind: str | None
    """deploy, rollback, restore; None when nothing was cut short."""
    release: str | None
    outcome: str
    """finished, undone, or nothing."""
    serves: str | None
    seconds: float


def resume(environment: Environment, progress: Progress) -> list[Recovery]:
    """Finish what was cut short, on every host. Raises what stops it, after undoing."""
    return on_each_host(environment, 1, lambda address, _: _recover(environment, address, progress, finish=True))


def abort(environment: Environment, progress: Progress) -> list[Recovery]:
    """Undo what was cut short, on every host. Raises UsageError where there is no way back."""
    return on_each_host(environment, 1, lambda address, _: _recover(environment, address, progress, finish=False))


def _recover(environment: Environment, address: HostAddress, progress: Progress, *, finish: bool) -> Recovery:
    began = time.monotonic()
    with locked(environment, address, "resume" if finish else "abort") as host:
        found = unfinished(host)
        if found and finish:
            go_on(host, found, progress)
        elif found:
            take_back(host, found, progress)
        stack = inspect(host)
        return Recovery(
            host=host.name,
            kind=found.intent.kind if found else None,
            release=found.intent.release.id if found else None,
            outcome="nothing" if not found else "finished" if finish else "undone",
            serves=stack.release(stack.live) if stack.live else None,
            seconds=round(time.monotonic() - began, 1),
        )


def unfinished(host: Host) -> Unfinished | None:
    """Return the operation on the host that was cut short, if there is one. Raises HostError for one not understood."""
    try:
        return journal.unfinished(journal.lines(host))
    except ValueError as strange:
        raise HostError(
            f"{host.name}: the last operation has not ended, and another version of ppmctl began it",
            host=host.name,
            seen=str(strange),
            next=f"Use the version that began it: ppmctl resume -e {host.environment.name}",
        ) from strange


def clear(host: Host, wanted: Release | None, progress: Progress) -> None:
    """Leave nothing half done on the host, before something else begins."""
    found = unfinished(host)
    if found is None:
        return
    if way(found, wanted, placed=_placed(host, found)) == "go on":
        go_on(host, found, progress)
    else:
        take_back(host, found, progress)


def way(found: Unfinished, wanted: Release | None, *, placed: bool) -> Literal["go on", "take back"]:
    """Return what is to become of an operation: on for the wanted release, back for any other.

    One that is past its last way back goes on in any case. ``placed``: the release's files are on the host.
    """
    same = wanted is not None and found.intent.release.id == wanted.id
    return "go on" if (same and placed) or _decided(found) else "take back"


def go_on(host: Host, found: Unfinished, progress: Progress) -> None:
    """Take the host through what is left of the operation. Raises UsageError when its files never arrived."""
    if not _placed(host, found):
        raise UsageError(
            f"{host.name}: release {found.intent.release.id} had not arrived when the {found.intent.kind} stopped",
            next=f"ppmctl deploy -e {host.environment.name}, or ppmctl abort",
        )
    steps = _steps(found)
    with opened(host, found.intent, inspect(host), progress, resumed=found) as operation:
        transaction.run(operation, steps)


def take_back(host: Host, found: Unfinished, progress: Progress) -> None:
    """Undo what the operation did. Raises UsageError when it is past its last way back."""
    if _decided(found):
        raise UsageError(
            f"{host.name}: users are on release {found.intent.release.id} already",
            next=f"ppmctl resume -e {host.environment.name} ends the {found.intent.kind}; then ppmctl rollback",
        )
    # An earlier ppmctl did not watch what users are answered; what undoes its steps turns the access log on.
    begun = [step for step in _steps(found) if step.name in found.begun or step.undo is watch.end]
    with opened(host, found.intent, inspect(host), progress, resumed=found) as operation:
        progress.step(host.name, "undoing")
        began = time.monotonic()
        version.record(host)
        transaction.undo(operation, begun if found.intent.reversible else [])
        progress.done(host.name, "undo", time.monotonic() - began, f"{found.intent.kind} of {found.since:%F %T}")


def _steps(found: Unfinished) -> Sequence[Step]:
    return {"deploy": STEPS, "rollback": ROLLBACK_STEPS, "restore": RESTORE_STEPS}[found.intent.kind]


def _decided(found: Unfinished) -> bool:
    return transaction.decided(_steps(found), found)


def _placed(host: Host, found: Unfinished) -> bool:
    return compose_text(host, found.intent.release.id) is not None
