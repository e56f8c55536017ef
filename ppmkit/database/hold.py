"""Hold: the database changes while requests wait in the proxy instead of failing.

New requests are sent to the idle color, whose containers run but do not listen yet: a refused connection has sent
nothing, so the proxy retries. Then the old color drains, and a script on the host (hold.sh) does the rest. It runs on
the host because a host between two releases must not depend on this machine.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ppmkit.database import migrate
from ppmkit.errors import ContainerFailed, OperationError
from ppmkit.operation import watch
from ppmkit.operation.findings import Findings
from ppmkit.orchestrator import oneoff
from ppmkit.orchestrator.stack import PORTS
from ppmkit.proxy import traefik
from ppmkit.release import render
from ppmkit.release.model import Color
from ppmkit.release.render import FULL_CPU_SHARES

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation
    from ppmkit.orchestrator.stack import Found

_SCRIPT = Path(__file__).with_suffix(".sh")
_POLL = 0.2
_UNDO_SECONDS = 60.0
_CHANGE = "change"
_TASKS = ("copy", _CHANGE, "restore")


def refuse_if_too_long(operation: Operation) -> None:
    """Raise OperationError when, according to the rehearsal, users would wait longer than allowed."""
    environment = operation.environment
    predicted = operation.findings.predicted or 0.0
    limit = environment.upgrade.hold_limit.total_seconds()
    if operation.intent.maintenance or predicted <= limit:
        return
    raise OperationError(
        f"{operation.host.name}: requests would wait for {predicted:.1f} s or more; {limit:g} s are allowed",
        host=operation.host.name,
        next=f"Raise upgrade.hold_limit, or show a maintenance page meanwhile: "
        f"ppmctl deploy -e {environment.name} --maintenance",
    )


def hold(operation: Operation) -> str:
    """Change the database while requests wait; the target color serves at the end."""
    began = time.monotonic()
    outcome = _await_outcome(operation) if _runs(operation) else _outcome(operation)
    if outcome is None or (operation.resumed and outcome != "done"):  # an earlier attempt was undone; retry
        refuse_if_too_long(operation)
        _prepare(operation)
        watch.read_answers(operation)
        began = _begin(operation)
        outcome = _await_outcome(operation)
    held = time.monotonic() - began
    failed = watch.failures(operation)  # reported only: undoing could lose rows that were written meanwhile
    if outcome != "done":
        raise OperationError(
            f"{operation.host.name}: {outcome.removeprefix('undone: ')}",
            host=operation.host.name,
            seen="\n".join(
                filter(None, [operation.host.read(_directory(operation) / "log"), _log_of_change(operation), failed])
            ),
            next="The rehearsal succeeded: fix what differs from it, then deploy again",
        )
    operation.refresh()
    operation.note(Findings(held=round(held, 3), failed=failed))
    seconds = _answer_of_change(operation).get("seconds", 0.0)
    changed = f"{operation.findings.change} in {seconds:.1f} s"
    return "; ".join(filter(None, [changed, f"requests waited at most {held:.1f} s", failed]))


def reopen(operation: Operation) -> None:
    """Let the previous release serve again, on the database as it was. Raises when that would lose rows."""
    host, live = operation.host, operation.intent.live
    assert live is not None, "without a live release there is no hold"
    if _runs(operation):
        _await_outcome(operation)
    if _outcome(operation) == "done":
        _restore(operation)
    stack = operation.refresh()
    paused = [c for role in ("api", "frontend", "worker") for c in stack.of(role, live)] + [*stack.of("steward")]
    if stopped := [c.id for c in paused if not c.active]:
        host.docker.container.start(stopped)
    traefik.route(host, operation.refresh(), live=live, preview=None)
    clean(operation)


def change_container(operation: Operation) -> str:
    """Return the name of the container that changes the database."""
    return _name(operation, _CHANGE)


def waits(operation: Operation) -> bool:
    """Return whether the container that changes the database is started and waits for its signal."""
    try:
        return oneoff.waits(operation.host, change_container(operation))
    except ContainerFailed:
        return False


def is_under_way(operation: Operation) -> bool:
    """Return whether the hold has begun and was not undone."""
    return _runs(operation) or _outcome(operation) == "done"


def clean(operation: Operation) -> None:
    """Remove the hold's containers and files from the host."""
    oneoff.remove(operation.host, *(_name(operation, task) for task in _TASKS))
    operation.host.run(["rm", "-rf", str(_directory(operation))])


def _prepare(operation: Operation) -> None:
    """Start the containers that work during the hold, so that they have loaded everything by then; write the plan."""
    host, change = operation.host, operation.change
    assert change is not None, "the step is skipped without a change"
    file, names = str(migrate.database(operation)), {task: _name(operation, task) for task in _TASKS}
    steward = ("--on-signal",)
    copy_command = (*steward, "keep" if change.replaces else "freshen", file, operation.snapshot)
    oneoff.start_waiting(host, operation.compose, "steward", names["copy"], copy_command)
    oneoff.start_waiting(
        host, operation.compose, "steward", names["restore"], (*steward, "restore", operation.snapshot, file)
    )
    command = (*steward, *change.command) if change.service == "steward" else (*change.command, "--on-signal")
    if not waits(operation):
        oneoff.start_waiting(host, operation.migrator, change.service, names["change"], command)
    oneoff.await_waiting(host, *names.values())
    stack = operation.refresh()
    prioritized = [*names.values(), *(c.id for c in stack.active("api", operation.target))]
    host.docker.container.update(prioritized, cpu_shares=FULL_CPU_SHARES)
    for container, aliases in _named(stack.active("api", operation.target), _aliases(operation)):
        _add_aliases(operation, container, aliases)
    _write_plan(operation, names)


def _write_plan(operation: Operation, names: dict[str, str]) -> None:
    host, environment, live = operation.host, operation.environment, operation.intent.live
    assert live is not None, "without a live release there is no hold"
    stack = operation.stack
    olds, news = stack.active("api", live), stack.active("api", operation.target)
    limits = environment.upgrade
    limit = limits.migrate_timeout if operation.intent.maintenance else limits.hold_limit
    values = {
        "limit": f"{limit.total_seconds():.0f}",
        "patience": f"{10 * limits.switch_timeout.total_seconds() + 20:.0f}",
        "old": " ".join(c.id for c in olds),
        "new": " ".join(c.id for c in news),
        "pairs": " ".join(f"{','.join(_options(*pair))}@{pair[0].id}" for pair in _named(olds, _aliases(operation))),
        "steward": " ".join(c.id for c in stack.of("steward")),
        "network": _network(operation),
        "routes": str(environment.directory / "traefik" / "dynamic"),
        **names,
    }
    directory = _directory(operation)
    host.run(["rm", "-rf", str(directory)])
    servers = stack.servers((live, operation.target))
    routes: dict[str, Color] = {"before": live, "after": operation.target}
    for name, color in routes.items():
        text = render.routes(host.proxy_settings, live=color, preview=color, servers=servers)
        host.write(directory / f"routes.{name}", text)
    host.write(directory / "plan", "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items()))
    host.write(directory / "hold.sh", _SCRIPT.read_text(encoding="utf-8"))


def _begin(operation: Operation) -> float:
    """Stop the old worker, which may take a while, and the steward; start the script, send new requests to the target,
    then signal the script to proceed. Return the monotonic time at which requests began to wait."""
    host, live = operation.host, operation.intent.live
    assert live is not None, "without a live release there is no hold"
    stack = operation.refresh()
    if others := [c.id for c in (*stack.active("worker", live), *stack.active("steward"))]:
        host.docker.container.stop(others)
    directory = _directory(operation)
    detached = 'setsid nohup sh "$1/hold.sh" > "$1/log" 2>&1 < /dev/null &'
    host.run(["sh", "-c", detached, "sh", str(directory)])
    target, maintenance = operation.target, operation.intent.maintenance
    waiting = [] if maintenance else [f"http://{alias}:{PORTS['api']}" for alias in _aliases(operation)]
    servers = {target: {**stack.servers((target,))[target], "api": waiting}}
    began = time.monotonic()
    traefik.route(host, stack, live=target, preview=None, servers=servers, maintenance=maintenance)
    traefik.confirm_route(host, target, waiting, operation.environment.upgrade.switch_timeout.total_seconds())
    host.write(directory / "go", "")
    return began


def _await_outcome(operation: Operation) -> str:
    """Wait until the script on the host has ended; return its outcome."""
    limits = operation.environment.upgrade
    limit = limits.migrate_timeout if operation.intent.maintenance else limits.hold_limit
    deadline = time.monotonic() + limit.total_seconds() + _UNDO_SECONDS
    while (outcome := _outcome(operation)) is None:
        if time.monotonic() > deadline:
            raise OperationError(
                f"{operation.host.name}: the hold has not ended",
                host=operation.host.name,
                seen=operation.host.read(_directory(operation) / "log"),
                next=f"ppmctl abort -e {operation.environment.name}",
            )
        operation.host.rest(_POLL)
    return outcome


def _restore(operation: Operation) -> None:
    """Restore the database to its state before the hold. Raises OperationError when it was written to since."""
    host, stack = operation.host, operation.refresh()
    new = [c.id for c in stack.active("api", operation.target)]
    if new:
        host.docker.container.stop(new)
    file = str(migrate.database(operation))
    stamp = oneoff.ask(host, operation.compose, "steward", ("stamp", file), timeout=60)["stamp"]
    if stamp != _answer_of_change(operation).get("stamp"):
        if new:
            host.docker.container.start(new)
        raise OperationError(
            f"{host.name}: the new release has written to the changed database, which stays so that no row is lost",
            host=host.name,
            next=f"ppmctl resume -e {operation.environment.name}, or ppmctl rollback, which shows what would be lost",
        )
    olds = stack.of("api", operation.intent.live)
    for container, aliases in _named(olds, _aliases(operation)):
        _add_aliases(operation, container, aliases)
    oneoff.ask(host, operation.compose, "steward", ("restore", operation.snapshot, file), timeout=600)
    host.write(_directory(operation) / "outcome", "undone: the database is what it was\n")  # for a repeated undo
    migrate.drop_snapshot(operation)


def _aliases(operation: Operation) -> list[str]:
    """Return the host names that held requests are sent to: the release that serves in the end gets these names."""
    count = len(operation.stack.of("api", operation.target))
    return [f"held-{operation.intent.operation.lower()}-{number + 1}" for number in range(count)]


def _named(containers: Sequence[Found], aliases: Sequence[str]) -> list[tuple[Found, list[str]]]:
    """Return which container gets which of the aliases, dealt out in turn: each alias belongs to one container."""
    count = min(len(containers), len(aliases))
    return [(containers[n], list(aliases[n::count])) for n in range(count)]


def _options(container: Found, aliases: Sequence[str]) -> list[str]:
    """Return the options of `docker network connect`: the aliases, and the names that Compose gave the container."""
    return [f"--alias={name}" for name in (*aliases, container.service, container.name)]


def _add_aliases(operation: Operation, container: Found, aliases: Sequence[str]) -> None:
    """Give a container that gets no requests additional names in the proxy's network."""
    network = _network(operation)
    operation.host.docker.network.disconnect(network, container.id, force=True)
    # Not by the library, which accepts only one name.
    operation.host.run(["docker", "network", "connect", *_options(container, aliases), network, container.id])


def _network(operation: Operation) -> str:
    return f"{operation.environment.project}_inner"


def _log_of_change(operation: Operation) -> str:
    return str(operation.host.docker.container.logs(_name(operation, "change"), tail=20)).strip()


def _answer_of_change(operation: Operation) -> dict[str, Any]:
    """Return what the change printed at its end: its seconds, and the stamp of the database's file."""
    logs = str(operation.host.docker.container.logs(_name(operation, "change"), tail=5))
    documents = [line for line in logs.splitlines() if line.startswith("{")]
    answer: dict[str, Any] = json.loads(documents[-1]) if documents else {}
    return answer


def _runs(operation: Operation) -> bool:
    script = 'test -e "$1/lock" && ! flock -n "$1/lock" true'
    return operation.host.run(["sh", "-c", script, "sh", str(_directory(operation))], check=False).status == 0


def _outcome(operation: Operation) -> str | None:
    text = operation.host.read(_directory(operation) / "outcome")
    return None if text is None else text.strip()


def _directory(operation: Operation) -> PurePosixPath:
    return operation.environment.directory / "holds" / operation.intent.operation


def _name(operation: Operation, task: str) -> str:
    return f"{operation.environment.project}-{task}-{operation.intent.operation.lower()}"
