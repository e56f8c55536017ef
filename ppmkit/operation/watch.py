"""Users' requests while a host changes: the proxy logs them only during an operation.

So the log costs nothing at other times, and the host keeps little of what users do. It starts well before users are
sent to a new release, so that it shows which routes were answered well until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.errors import CommandFailed
from ppmkit.operation.findings import Findings
from ppmkit.proxy import traefik
from ppmkit.release.model import COLORS
from ppmkit.traffic.comparison import Sample
from ppmkit.traffic.counts import Routes, Traffic, counting, left_out

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation
    from ppmkit.traffic.access_log import Answer


def begin(operation: Operation) -> str:
    """Make the proxy log users' requests from now on."""
    stack = operation.stack
    if stack.live is None:
        return "nothing serves yet"
    if operation.findings.watched is None:  # else every route written since then turns the log on
        clock = operation.host.run(["date", "-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]).stdout.strip()
        traefik.route(operation.host, stack, live=stack.live, preview=None)
        operation.note(Findings(watched=clock))
    return "the proxy logs users' requests"


def end(operation: Operation) -> None:
    """Make the proxy stop logging."""
    stack = operation.refresh()
    traefik.route(operation.host, stack, live=stack.live, preview=None, logged=False)


def read_answers(operation: Operation) -> list[Answer]:
    """Return the answers that users got since the last read; the operation counts all of them."""
    if (since := operation.findings.watched) is None:
        return []
    answers = operation.log.read(operation.host, since)
    operation.traffic.add(answers)
    return answers


def failures(operation: Operation) -> str:
    """Return a text on what failed since the last read, compared with the answers before; empty if nothing did.

    If the log cannot be read, the text says so instead of raising: it is only a report.
    """
    before = {role: operation.traffic.of(*_services(role)) for role in ("api", "frontend")}
    during, lines = Traffic(), list[str]()
    try:
        during.add(read_answers(operation))
    except CommandFailed as error:
        return f"failed requests could not be counted: {error.message}"
    for role, known in before.items():
        routes = during.of(*_services(role))
        history = known or routes  # a resumed operation has only now read the earlier answers
        counts = Sample(name=role, routes=counting(routes, history)).all
        counted = [f"{counts.bad:,} of {counts.total:,} answers of the {role} were 5xx"] if counts.bad else []
        lines += [*counted, *filter(None, [left_out(routes, history)])]
    return "; ".join(lines)


def _services(role: str) -> list[str]:
    return [f"{role}-{color}" for color in COLORS]


def side(name: str, answers: Traffic, service: str, history: Routes) -> Sample:
    """Return one side of a comparison: a service's answers, counted by which routes were answered well before."""
    return Sample(name=name, routes=counting(answers.of(service), history), within=answers.within(service))
