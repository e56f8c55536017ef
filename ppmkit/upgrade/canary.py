"""Checks of the new release: smoke checks before users reach it, a canary for a share of them, a bake after the switch.

Each is a step of an upgrade (``steps.py``). Each raises OperationError with the figures that decided it, and with the
state and logs of the new containers.
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
from ppmkit.traffic.comparison import FEW, Sample, Verdict, compare, errors
from ppmkit.traffic.counts import Routes, Traffic
from ppmkit.upgrade import diagnosis

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation

_LOG_SECONDS = 1.0
"""Seconds between two reads of the access log: each read starts a program on the host."""
_SMOKE_SECONDS = 0.5
"""Seconds between two rounds of smoke checks while a release bakes."""


def shares(text: str) -> tuple[int, ...]:
    """Given "5,25,100", return these shares of the users in percent; a last 100 may be left out.

    Raises UsageError.
    """
    parts = text.split(",")
    percentages = [int(part) for part in parts if re.fullmatch(r"[1-9]\d?|100", part)]
    if len(percentages) != len(parts) or percentages != sorted(set(percentages)):
        raise UsageError(
            f"--canary {text}: not a list of shares in percent",
            next="Write whole numbers from 1 to 100 in ascending order, separated by commas: --canary 5,25,100",
        )
    return tuple(percentages) if percentages[-1] == 100 else (*percentages, 100)


def full_share(operation: Operation) -> None:
    """Give the target's containers their full CPU share, before users are sent to them."""
    stack = operation.refresh()
    serving = [c.id for role in ("api", "frontend") for c in stack.running(role, operation.target)]
    operation.host.docker.container.update(serving, cpu_shares=FULL_CPU_SHARES)


def smoke(operation: Operation) -> str:
    """Request the smoke paths from every new container, through the preview route."""
    environment = operation.environment
    # Their CPU share is still small, so they may be slow.
    timeout = environment.upgrade.ready_timeout.total_seconds()
    replicas = max(environment.services.api.replicas, environment.services.frontend.replicas)
    for path in environment.upgrade.smoke:
        for _ in range(replicas):  # the proxy balances round-robin
            if bad := probe.answer(operation.host.internal, path, operation.release.id, timeout):
                raise _rejected(operation, "the new release failed a smoke check", bad)
    return f"{', '.join(environment.upgrade.smoke)} answer" if environment.upgrade.smoke else "off"


def canary(operation: Operation) -> str:
    """Send a share of the api's requests to the target, then larger ones, as long as it does no worse.

    The old color serves the whole page. The last share, all users, is the switch.
    """
    watch.read_answers(operation)  # later requests count for this step, or for the switch
    partial_shares = [share for share in operation.intent.canary if share < 100]
    if not partial_shares:
        return "not requested"
    if operation.stack.live in (None, operation.target):
        return "no other release is serving"
    full_share(operation)
    return "; ".join(f"{share} %: {_watch_share(operation, share)}" for share in partial_shares)


def _watch_share(operation: Operation, share: int) -> str:
    """Send this percentage to the target and compare the colors for the configured time; return the figures."""
    host, limits = operation.host, operation.environment.upgrade
    new, old = operation.target, other(operation.target)
    operation.progress.step(host.name, f"canary {share} %")
    traefik.route(host, operation.stack, live=old, preview=new, canary=share)
    weights = {f"api-{old}": 100 - share, f"api-{new}": share}
    traefik.confirm_canary(host, weights, limits.switch_timeout.total_seconds())
    watch.read_answers(operation)
    began, traffic = time.monotonic(), Traffic()
    while True:
        remaining = began + limits.canary_step.total_seconds() - time.monotonic()
        host.rest(max(0, min(_LOG_SECONDS, remaining)))
        seconds = time.monotonic() - began
        traffic.add(watch.read_answers(operation))
        history = operation.traffic.of(f"api-{old}")
        verdict = compare(
            watch.side(new, traffic, f"api-{new}", history),
            watch.side(f"{old} in the same {seconds:.0f} s", traffic, f"api-{old}", history),
            limits,
        )
        figures = _figures(verdict, traffic.of(f"api-{new}"), history)
        if verdict.worse:
            raise _rejected(operation, f"{new} did worse than {old} with {share} % of the requests", figures)
        if remaining <= _LOG_SECONDS:
            return figures


def bake(operation: Operation) -> str:
    """Watch the target serve all users: compare its errors with the old color's before, and run smoke checks.

    Smoke checks work without users too: the smoke paths are requested at the public port throughout, at no more than
    half the rate that one client is allowed.
    """
    limits = operation.environment.upgrade
    seconds = limits.bake.total_seconds()
    if not seconds:
        return "off"
    interval = max(_SMOKE_SECONDS, 120 * len(limits.smoke) / operation.environment.app.rate_limit_per_minute)
    before, traffic = _before(operation), Traffic()
    traffic.add(watch.read_answers(operation))  # starts before the switch, so that the first requests count
    before = before or _before(operation)  # a resumed upgrade has only now read what was logged
    figures = _compare_with_before(operation, traffic, before)
    next_read = next_smoke = time.monotonic()
    deadline, answers = next_smoke + seconds, list[str | None]()
    while True:
        remaining = deadline - time.monotonic()
        if time.monotonic() >= next_smoke:
            next_smoke += interval
            answers += [probe.answer(operation.host.public, path, operation.release.id) for path in limits.smoke]
        bad = [answer for answer in answers if answer]
        if len(bad) >= FEW:
            raise _rejected(
                operation, f"{len(bad)} of {len(answers)} smoke checks failed after the switch", "\n".join(bad)
            )
        if remaining <= 0 or time.monotonic() >= next_read:
            next_read += _LOG_SECONDS
            traffic.add(watch.read_answers(operation))
            figures = _compare_with_before(operation, traffic, before)
        if remaining <= 0:
            return f"{len(answers)} smoke checks, {len(bad)} failed; {figures}"
        operation.host.rest(min(_SMOKE_SECONDS, remaining))


def _before(operation: Operation) -> dict[str, Routes]:
    """Return {role: its routes' counts} of the color that served, as far as the operation saw it."""
    by_role = {role: operation.traffic.of(f"{role}-{operation.intent.live}") for role in ("api", "frontend")}
    return {role: routes for role, routes in by_role.items() if routes}


def _compare_with_before(operation: Operation, traffic: Traffic, before: Mapping[str, Routes]) -> str:
    """Return the figures of the api and the frontend since the switch. Raises OperationError when one does worse."""
    new, old = operation.target, other(operation.target)
    figures_by_role = []
    for role in ("api", "frontend"):
        history = before.get(role, {})
        service = f"{role}-{new}"
        verdict = errors(
            watch.side(service, traffic, service, history),
            Sample(name=f"{old} before", routes=counts.counting(history, history)),
            operation.environment.upgrade,
        )
        figures = _figures(verdict, traffic.of(service), history)
        if verdict.worse:
            raise _rejected(operation, f"{new} did worse than {old} before the switch", figures)
        figures_by_role.append(figures)
    return "; ".join(figures_by_role)


def _figures(verdict: Verdict, routes: Routes, history: Routes) -> str:
    """Return the verdict's figures, and the requests that were not counted."""
    return "; ".join(filter(None, [verdict.said, counts.left_out(routes, history)]))


def _rejected(operation: Operation, why: str, figures: str) -> OperationError:
    return OperationError(
        f"{operation.host.name}: {why}",
        host=operation.host.name,
        seen=diagnosis.report(operation.host, operation.refresh(), operation.target, figures),
        next=f"Fix it and re-run: ppmctl deploy -e {operation.environment.name}",
    )
