"""What a failed start looks like, on one screen: the last answer, and each container's end and last words."""

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
    ("no such (table|column)", "the code expects a schema that no migration makes"),
    ("waiting: the database is at", "no migration leads from the database's revision to the release's"),
    ("session secret|/run/secrets", "a secret is missing or unfit: ppmctl secrets check"),
    ("Read-only file system|Permission denied", "it writes where it may not: only /data and /tmp are its own"),
    ("No space left on device|database or disk is full", "the host's disk is full"),
    ("database is locked", "something else holds the database for long"),
)
"""What a sign in the last words most likely means, the surest first."""
_LOOK_BACK = "1h"
_EVENTS_SECONDS = 20.0


def of(host: Host, stack: Stack, color: Color, last: str) -> str:
    """Return what was seen of a colour's containers, after ``last``, the answer that was not good."""
    blocks = [last]
    for found in stack.containers:
        if found.color == color:
            blocks.append(f"{_state(host, found)}\n{_log(host, found)}".rstrip())
    text = "\n\n".join(blocks)
    cause = likely(text)
    return f"{text}\n\nmost likely: {cause}" if cause else text


def likely(seen: str) -> str | None:
    """Given what was seen, return the likely cause, or None when it could be anything."""
    return next((cause for sign, cause in _CAUSES if re.search(sign, seen)), None)


def _state(host: Host, found: Found) -> str:
    """Return how a container is, and how often it ended: one that is restarted has forgotten that."""
    events = _events(host, found)
    ends = [event["Actor"]["Attributes"] for event in events if event["Action"] == "die"]
    state = f"{found.name}: {found.status}"
    if ends:
        state += f", ended {len(ends)} times, the last time with exit code {ends[-1].get('exitCode')}"
    elif not found.running:
        state += f", exit code {found.exit_code}"
    if found.oom_killed or any(event["Action"] == "oom" for event in events):
        state += ", killed for its memory limit (raise services.*.memory, or mend the leak)"
    return state


def _events(host: Host, found: Found) -> list[dict[str, Any]]:
    """Return what the engine tells of a container, oldest first."""
    engine = ["docker", "-H", f"unix://{host.docker_socket}", "events", "--format", "{{json .}}"]
    argv = [*engine, "--since", _LOOK_BACK, "--until", "0s", "--filter", f"container={found.id}"]
    return [json.loads(line) for line in bounded.run(argv, timeout=_EVENTS_SECONDS).stdout.splitlines()]


def _log(host: Host, found: Found) -> str:
    log = str(host.docker.container.logs(found.id, tail=_LINES))
    return "\n".join(f"    {line}" for line in log.splitlines())
