"""Is the new release any good? Smoke checks before anyone is sent to it, a canary while some are, a bake when all are.

Each is a step of ``rollout.py``; each raises OperationError with the figures that decided it, and with what the new
containers said.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ppmkit.errors import OperationError, UsageError
from ppmkit.operation import watch
from ppmkit.proxy import probe, traefik
from ppmkit.release.model import other
from ppmkit.release.render import FULL_CPU_SHARES
from ppmkit.traffic import counts
from ppmkit.traffic.comparison import FEW, Seen, Verdict, errors, judge
from ppmkit.traffic.counts import Routes, Traffic
from ppmkit.upgrade import diagnosis

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation

_LOOK = 1.0
"""Seconds between two looks at the access log: each is a program that starts on the host."""
_ASK = 0.5
"""Seconds between two rounds of questions while a release bakes."""


def shares(text: str) -> tuple[int, ...]:
    """Given "5,25,100", return these shares of the users in per cent; a last 100 may be left out.

    Raises UsageError.
    """
    parts = text.split(",")
    found = [int(part) for part in parts if re.fullmatch(r"[1-9]\d?|100", part)]
    if len(found) != len(parts) or found != sorted(set(found)):
        raise UsageError(
            f"--canary {text}: not a list of shares in per cent",
            next="Write whole numbers from 1 to 100, ascending, with commas: --canary 5,25,100",
        )
    return tuple(found) if found[-1] == 100 else (*found, 100)


def full_share(operation: Operation) -> None:
    """Give the target's containers their full share of the processor: users are about to come."""
    stack = operation.look_again()
    serving = [c.id for role in ("api", "frontend") for c in stack.running(role, operation.target)]
    operation.host.docker.container.update(serving, cpu_shares=FULL_CPU_SHARES)


def smoke(operation: Operation) -> str:
    """Ask every new container for the smoke paths, through the preview route."""
    environment = operation.environment
    # They have a small share of the processor yet; being slow is no fault of theirs.
    timeout = environment.upgrade.ready_timeout.total_seconds()
    replicas = max(environment.services.api.replicas, environment.services.frontend.replicas)
    for path in environment.upgrade.smoke:
        for _ in range(replicas):  # the proxy takes its servers in turn
            if bad := probe.answer(operation.host.internal, path, operation.release.id, timeout):
                raise _unfit(operation, "the new release failed a smoke check", bad)
    return f"{', '.join(environment.upgrade.smoke)} answer" if environment.upgrade.smoke else "off"


def canary(operation: Operation) -> str:
    """Send a share of the api's requests to the target, then a larger one, for as long as it does no worse.

    The page stays with the old colour as a whole. The last share, all users, is the switch.
    """
    watch.look(operation)  # what comes from now on is of this step, or of the switch
    some = [share for share in operation.intent.canary if share < 100]
    if not some:
        return "not asked for"
    if operation.stack.live in (None, operation.target):
        return "no other release serves"
    full_share(operation)
    return "; ".join(f"{share} %: {_watch_share(operation, share)}" for share in some)


def _watch_share(operation: Operation, share: int) -> str:
    """Send so many per cent to the target and compare the colours until the time is over; return the figures."""
    host, limits = operation.host, operation.environment.upgrade
    new, old = operation.target, other(operation.target)
    operation.progress.step(host.name, f"canary {share} %")
    traefik.route(host, operation.stack, live=old, preview=new, canary=share)
    weights = {f"api-{old}": 100 - share, f"api-{new}": share}
    traefik.confirm_canary(host, weights, limits.switch_timeout.total_seconds())
    watch.look(operation)
    began, found = time.monotonic(), Traffic()
    while True:
        left = began + limits.canary_step.total_seconds() - time.monotonic()
        host.rest(max(0, min(_LOOK, left)))
        seconds = time.monotonic() - began
        found.add(watch.look(operation))
        history = operation.traffic.of(f"api-{old}")
        verdict = judge(
            watch.side(new, found, f"api-{new}", history),
            watch.side(f"{old} in the same {seconds:.0f} s", found, f"api-{old}", history),
            limits,
        )
        said = _with_rest(verdict, found.of(f"api-{new}"), history)
        if verdict.worse:
            raise _unfit(operation, f"{new} did worse than {old} with {share} % of the requests", said)
        if left <= _LOOK:
            return said


def bake(operation: Operation) -> str:
    """Watch the target serve everyone: its errors against the old colour's before, and what it answers to us.

    Without users it is seen too: the smoke paths are asked for at the public port all the while, at no more than
    half the rate that one client is allowed.
    """
    limits = operation.environment.upgrade
    seconds = limits.bake.total_seconds()
    if not seconds:
        return "off"
    pace = max(_ASK, 120 * len(limits.smoke) / operation.environment.app.rate_limit_per_minute)
    before, found = _before(operation), Traffic()
    found.add(watch.look(operation))  # from the step before the switch on, so that the first requests count
    before = before or _before(operation)  # an upgrade that is being finished sees only now what was logged
    said = _compare_with_before(operation, found, before)
    look = due = time.monotonic()
    deadline, answers = due + seconds, list[str | None]()
    while True:
        left = deadline - time.monotonic()
        if time.monotonic() >= due:
            due += pace
            answers += [probe.answer(operation.host.public, path, operation.release.id) for path in limits.smoke]
        bad = [answer for answer in answers if answer]
        if len(bad) >= FEW:
            raise _unfit(
                operation, f"{len(bad)} of {len(answers)} smoke checks failed after the switch", "\n".join(bad)
            )
        if left <= 0 or time.monotonic() >= look:
            look += _LOOK
            found.add(watch.look(operation))
            said = _compare_with_before(operation, found, before)
        if left <= 0:
            return f"{len(answers)} smoke checks, {len(bad)} failed; {said}"
        operation.host.rest(min(_ASK, left))


def _before(operation: Operation) -> dict[str, Routes]:
    """Return {role: how its requests went} of the color that served, as far as the operation saw it."""
    found = {role: operation.traffic.of(f"{role}-{operation.intent.live}") for role in ("api", "frontend")}
    return {role: routes for role, routes in found.items() if routes}


def _compare_with_before(operation: Operation, found: Traffic, before: Mapping[str, Routes]) -> str:
    """Return the figures of api and frontend since the switch; raises OperationError when one does worse."""
    new, old = operation.target, other(operation.target)
    said = []
    for role in ("api", "frontend"):
        history = before.get(role, {})
        service = f"{role}-{new}"
        verdict = errors(
            watch.side(service, found, service, history),
            Seen(name=f"{old} before", routes=counts.counting(history, history)),
            operation.environment.upgrade,
        )
        figures = _with_rest(verdict, found.of(service), history)
        if verdict.worse:
            raise _unfit(operation, f"{new} did worse than {old} before the switch", figures)
        said.append(figures)
    return "; ".join(said)


def _with_rest(verdict: Verdict, routes: Routes, history: Routes) -> str:
    """Return what the verdict says, and what did not count."""
    return "; ".join(filter(None, [verdict.said, counts.left_out(routes, history)]))


def _unfit(operation: Operation, why: str, figures: str) -> OperationError:
    return OperationError(
        f"{operation.host.name}: {why}",
        host=operation.host.name,
        seen=diagnosis.of(operation.host, operation.look_again(), operation.target, figures),
        next=f"Mend it and run: ppmctl deploy -e {operation.environment.name}",
    )
