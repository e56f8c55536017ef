"""What a failed start looks like, on one screen: the last answer, and each container's end and last words."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from deploy.stack import Found, Stack

if TYPE_CHECKING:
    from deploy.host import Host
    from deploy.release import Color

_LINES = 20
_LOOK_BACK = timedelta(hours=1)


def of(host: Host, stack: Stack, color: Color, last: str) -> str:
    """Return what was seen of a colour's containers, after ``last``, the answer that was not good."""
    blocks = [last]
    for found in stack.containers:
        if found.color == color:
            blocks.append(f"{_state(host, found)}\n{_log(host, found)}".rstrip())
    return "\n\n".join(blocks)


def _state(host: Host, found: Found) -> str:
    """Return how a container is, and how often it ended: one that is restarted has forgotten that."""
    events = list(host.docker.system.events(since=_LOOK_BACK, until=timedelta(0), filters={"container": found.id}))
    ends = [event.actor.attributes or {} for event in events if event.action == "die" and event.actor]
    state = f"{found.name}: {found.status}"
    if ends:
        state += f", ended {len(ends)} times, the last time with exit code {ends[-1].get('exitCode')}"
    elif not found.running:
        state += f", exit code {found.exit_code}"
    if found.oom_killed or any(event.action == "oom" for event in events):
        state += ", killed for its memory limit (raise services.*.memory, or mend the leak)"
    return state


def _log(host: Host, found: Found) -> str:
    log = str(host.docker.container.logs(found.id, tail=_LINES))
    return "\n".join(f"    {line}" for line in log.splitlines())
