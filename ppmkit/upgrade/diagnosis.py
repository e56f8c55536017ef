"""Diagnosis of a failed start, on one screen: the last answer, and each container's exit and last log lines."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ppmkit.local import bounded
from ppmkit.orchestrator.stack import Found, Stack

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.release.model import Color

_LINES = 20
_CAUSES = (
    ("killed for its memory limit", "it needs more memory than services.*.memory gives it"),
    ("ModuleNotFoundError|ImportError", "the image lacks a dependency: is it in the lock file?"),
    ("SyntaxError|IndentationError", "the code does not parse"),
    ("no such (table|column)", "the code expects a schema that no migration creates"),
    ("waiting: the database is at", "no migration leads from the database's revision to the release's"),
    ("session secret|/run/secrets", "a secret is missing or invalid: ppmctl secrets check"),
    ("Read-only file system|Permission denied", "it writes to a read-only path: only /data and /tmp are writable"),
    ("No space left on device|database or disk is full", "the host's disk is full"),
    ("database is locked", "another process keeps the database locked"),
)
"""(pattern in the log lines, its most likely cause), the most certain first."""
_EVENTS_SINCE = "1h"
_EVENTS_SECONDS = 20.0


def report(host: Host, stack: Stack, color: Color, last: str) -> str:
    """Return ``last``, the answer that was not good, then the state and log of each of a color's containers."""
    blocks = [last]
    for container in stack.containers:
        if container.color == color:
            blocks.append(f"{_state(host, container)}\n{_log(host, container)}".rstrip())
    text = "\n\n".join(blocks)
    cause = likely_cause(text)
    return f"{text}\n\nmost likely: {cause}" if cause else text


def likely_cause(seen: str) -> str | None:
    """Given the answer, states and logs, return the likely cause, or None when there is no sign of any."""
    return next((cause for pattern, cause in _CAUSES if re.search(pattern, seen)), None)


def _state(host: Host, container: Found) -> str:
    """Return a container's state, and how often it exited: only the engine's events know that after a restart."""
    events = _events(host, container)
    exits = [event["Actor"]["Attributes"] for event in events if event["Action"] == "die"]
    state = f"{container.name}: {container.status}"
    if exits:
        state += f", exited {len(exits)} times, the last time with exit code {exits[-1].get('exitCode')}"
    elif not container.running:
        state += f", exit code {container.exit_code}"
    if container.oom_killed or any(event["Action"] == "oom" for event in events):
        state += ", killed for its memory limit (raise services.*.memory, or fix the leak)"
    return state


def _events(host: Host, container: Found) -> list[dict[str, Any]]:
    """Return the engine's events of a container, oldest first."""
    engine = ["docker", "-H", f"unix://{host.docker_socket}", "events", "--format", "{{json .}}"]
    argv = [*engine, "--since", _EVENTS_SINCE, "--until", "0s", "--filter", f"container={container.id}"]
    return [json.loads(line) for line in bounded.run(argv, timeout=_EVENTS_SECONDS).stdout.splitlines()]


def _log(host: Host, container: Found) -> str:
    log = str(host.docker.container.logs(container.id, tail=_LINES))
    return "\n".join(f"    {line}" for line in log.splitlines())
