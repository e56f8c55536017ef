"""Users' requests while a host changes: the proxy logs them for as long as an operation lasts, and no longer.

So the log costs nothing in between, and the host keeps little of what users do. It begins well before users are sent to
a new release, so that it shows which routes were answered well until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.errors import CommandFailed
from ppmkit.operation.findings import Findings
from ppmkit.proxy import traefik
from ppmkit.release.model import COLORS
from ppmkit.traffic import counts as traffic
from ppmkit.traffic.comparison import Seen

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation
    from ppmkit.traffic.access_log import Answer
    from ppmkit.traffic.counts import Traffic


def begin(operation: Operation) -> str:
    """Have the proxy log users' requests from now on."""
    stack = operation.stack
    if stack.live is None:
        return "nothing serves yet"
    if operation.findings.watched is None:  # else every route since then has said so
        clock = operation.host.run(["date", "-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]).stdout.strip()
        traefik.route(operation.host, stack, live=stack.live, preview=None)
        operation.note(Findings(watched=clock))
    return "the proxy logs users' requests"


def end(operation: Operation) -> None:
    """Have the proxy log no more."""
    stack = operation.look_again()
    traefik.route(operation.host, stack, live=stack.live, preview=None, logged=False)


def look(operation: Operation) -> list[Answer]:
    """Return what users were answered since the last look; the operation counts all of it."""
    if (since := operation.findings.watched) is None:
        return []
    answers = operation.log.read(operation.host, since)
    operation.traffic.add(answers)
    return answers


def failures(operation: Operation) -> str:
    """Return in words what failed since the last look, by what the operation saw before; nothing if nothing did.

    Where the log cannot be read, the text says so: it is a report, and stops nothing.
    """
    before = {role: operation.traffic.of(*_services(role)) for role in ("api", "frontend")}
    found, said = traffic.Traffic(), list[str]()
    try:
        found.add(look(operation))
    except CommandFailed as error:
        return f"what failed meanwhile is not known: {error.message}"
    for role, known in before.items():
        routes = found.of(*_services(role))
        history = known or routes  # an operation that goes on sees only now what was before
        counts = Seen(name=role, routes=traffic.counting(routes, history)).all
        counted = [f"{counts.bad:,} of {counts.total:,} answers of the {role} were 5xx"] if counts.bad else []
        said += [*counted, *filter(None, [traffic.left_out(routes, history)])]
    return "; ".join(said)


def _services(role: str) -> list[str]:
    return [f"{role}-{color}" for color in COLORS]


def side(name: str, found: Traffic, service: str, history: traffic.Routes) -> Seen:
    """Return one side for the judge: a service's answers that count by what was answered well before."""
    return Seen(name=name, routes=traffic.counting(found.of(service), history), within=found.within(service))
