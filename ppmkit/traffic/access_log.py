"""Classify users' requests from the proxy's access log. Only :meth:`Log.read` touches a host.

A 5xx alone does not show who caused it: a client can provoke one at any time, and so could undo any deploy. Decision 10
has a table of what each kind of request leaves in the log of Traefik 3.7.15; :func:`_kind` implements that table. The
log is on while an operation lasts (``ppmkit/operation/watch.py``).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ppmkit.errors import CommandFailed

if TYPE_CHECKING:
    from ppmkit.host.host import Host

FIELDS = (
    "DownstreamStatus",
    "Duration",
    "OriginDuration",
    "RequestContentSize",
    "RequestMethod",
    "RequestPath",
    "RequestProtocol",
    "ServiceName",
    "StartUTC",
    "entryPointName",
)
"""The fields that the proxy logs, besides the time and the headers Date and Content-Length of request and response."""
Kind = Literal["well", "refused", "failed", "malformed", "slow", "abandoned", "broken"]
"""`well`: 2xx or 3xx. `refused`: 4xx. `failed`: a 5xx that no client can cause. The others say nothing about a release:
`malformed` (rejected by the proxy), `slow` (the body took too long), `abandoned` (the client left), `broken` (the
connection to the application broke while a body was, or may have been, in transit)."""
_SERVICE = re.compile(r"((?:api|frontend)-(?:blue|green))@file")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_BODILESS = ("GET", "HEAD", "OPTIONS")
_NAME = re.compile(r"[A-Za-z][A-Za-z_.~-]{0,31}")
_DEPTH = 8
_PROMPT = 5e9
"""Nanoseconds. After this time, the application may have given up because its client sent too slowly."""
_UNDELAYED = {"HTTP/1.0": 16_384, "HTTP/1.1": 16_384}
"""Maximum bytes of a response with a declared length that the proxy writes without waiting for its client: they fit
into the socket's buffer. In HTTP/2 a client can block every byte (RFC 9113, 6.9), and Traefik buffers 4,096 bytes."""
_UNDELAYED_ELSE = 4_096
_TAILS = (2_000, 20_000)
"""Number of lines to read from the end of the log; the second applies if the first may not cover everything. The engine
finds the last lines quickly, but decodes the whole log to find the lines since a given time."""
_MOST_BYTES = 32 << 20
_READ = """
for proxy in $(docker ps -aq --filter "label=com.docker.compose.project=$1" --filter label=ppm.role=reverse-proxy); do
    docker logs --timestamps --since "$2" --tail "$3" "$proxy" 2> /dev/null
done | awk '/"entryPointName":"web/ && length < 3000' | gzip -1 | base64 -w 0
"""
"""Lines with longer paths are skipped: a client must not be able to inflate the log beyond what may be read."""


class Answer(NamedTuple):
    """The outcome of one user request."""

    service: str
    """The proxy's service, such as api-blue."""
    route: str
    """Method and path; a part that looks like an identifier becomes a star: GET /api/projects/*."""
    kind: Kind
    seconds: float | None
    """The application's response time; None if the client may have delayed it."""


@dataclass
class Log:
    """The access log of a host's proxy. Each read continues where the last one ended."""

    cursor: str | None = None
    """The engine's timestamp of the last line that was read."""

    def read(self, host: Host, since: str) -> list[Answer]:
        """Return the answers since the last read; on the first read, since ``since`` on the host's clock.

        Returns the last 20,000 at most. If the engine does not answer, returns none; a later read returns them.
        """
        lines: list[tuple[str, str]] = []
        for tail in _TAILS:
            script = ["sh", "-c", _READ, "sh", host.environment.project, self.cursor or since, str(tail)]
            lines = list(self._new(_unpacked(host, host.run(script, timeout=30, check=False).stdout)))
            if len(lines) < tail // 2:
                break
        if lines:
            self.cursor = lines[-1][0]
        return [answer for _, line in lines if (answer := parse(line))]

    def _new(self, text: str) -> Iterator[tuple[str, str]]:
        for line in text.splitlines():
            stamp, _, entry = line.partition(" ")
            if self.cursor is None or stamp > self.cursor:
                yield stamp, entry


def _unpacked(host: Host, text: str) -> str:
    try:
        packed = base64.b64decode(text, validate=True)
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(packed, _MOST_BYTES).decode(errors="replace")
    except (binascii.Error, zlib.error) as error:
        raise CommandFailed(
            f"{host.name}: the proxy's access log cannot be read", host=host.name, seen=str(error)
        ) from error


def parse(line: str) -> Answer | None:
    """Given a log line, return the answer; None if it is not a user's request to the application."""
    try:
        entry = json.loads(line)
        service = _SERVICE.fullmatch(entry["ServiceName"])
        if service is None or not entry["entryPointName"].startswith("web"):
            return None
        kind = _kind(entry)
        return Answer(
            service=service[1],
            route=route(entry["RequestMethod"], entry["RequestPath"]),
            kind=kind,
            seconds=entry["OriginDuration"] / 1e9 if kind == "well" and _undelayed(entry) else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def route(method: str, path: str) -> str:
    """Return method and path, with a star for each part that may be an identifier: not just letters and .-_~."""
    parts = path.partition("?")[0].removeprefix("/").split("/")[:_DEPTH]
    kept = [part if not part or _NAME.fullmatch(part) else "*" for part in parts]
    return f"{method if method in _METHODS else '*'} /{'/'.join(kept)}"


def _kind(entry: Mapping[str, Any]) -> Kind:
    status = int(entry["DownstreamStatus"])
    if status in (0, 499):
        return "abandoned"
    if status < 500:
        return "well" if status < 400 else "refused"
    prompt = entry["Duration"] <= _PROMPT
    body = _body(entry)
    if entry.get("origin_Date") or entry.get("origin_Content-Length"):  # the proxy's own errors have neither
        return "slow" if body == "cut" or (body == "unknown" and not prompt) else "failed"
    if status == 504:
        return "slow"
    if status != 502:
        return "malformed"
    if entry["Duration"] - entry["OriginDuration"] > _PROMPT:  # it was held, and no container began to listen
        return "failed"
    if not prompt:
        return "slow"
    # For HTTP/1 the log cannot distinguish a request without a body from one whose first chunk has not arrived. If the
    # client resets its connection then, the log shows a 502 as if the application had reset it.
    known = body == "whole" or (body == "none" and entry["RequestProtocol"] == "HTTP/2.0")
    return "failed" if known else "broken"


def _body(entry: Mapping[str, Any]) -> Literal["none", "whole", "cut", "unknown"]:
    """Return whether the request has a body, and whether it arrived completely."""
    declared, received = entry.get("request_Content-Length"), int(entry["RequestContentSize"])
    if declared is not None:
        return "whole" if int(declared) == received else "cut"
    return "none" if received == 0 and entry["RequestMethod"] in _BODILESS else "unknown"


def _undelayed(entry: Mapping[str, Any]) -> bool:
    """Return whether the client cannot have delayed the response, neither by sending nor by reading slowly."""
    if entry["RequestMethod"] not in _BODILESS or int(entry.get("request_Content-Length") or 0):
        return False
    if entry["RequestContentSize"] or entry["RequestProtocol"] not in (*_UNDELAYED, "HTTP/2.0"):
        return False
    if entry["DownstreamStatus"] in (204, 304):
        return True
    limit = _UNDELAYED.get(entry["RequestProtocol"], _UNDELAYED_ELSE)
    return 0 <= int(entry.get("origin_Content-Length") or -1) <= limit
