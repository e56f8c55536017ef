"""What the proxy's access log says of users' requests. The lines are those of Traefik 3.7.15 (test_accesslog.py beside
the integration tests makes it say them again)."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppmkit.errors import CommandFailed
from ppmkit.traffic.access_log import FIELDS, Log, parse, route

MS = 1_000_000
DATE = {"origin_Date": "Sun, 29 Nov 2026 13:42:16 GMT", "origin_Content-Length": "21"}
"""What an answer has that the application made."""
HTTP2 = {"RequestProtocol": "HTTP/2.0"}
LINE: dict[str, Any] = {
    "DownstreamStatus": 200,
    "Duration": 5 * MS,
    "OriginDuration": 5 * MS,
    "RequestContentSize": 0,
    "RequestMethod": "GET",
    "RequestPath": "/api/projects",
    "RequestProtocol": "HTTP/1.1",
    "ServiceName": "api-green@file",
    "StartUTC": "2026-11-29T13:42:16.376776676Z",
    "downstream_Date": "Sun, 29 Nov 2026 13:42:16 GMT",
    "entryPointName": "web",
    "level": "info",
    "msg": "",
    "time": "2026-11-29T13:42:16Z",
}


def line(status: int = 200, body: int = 0, declared: int | None = None, ms: int = 5, **more: Any) -> str:
    """Return a line of a request with so many bytes of a body, of as many as declared, that took so many ms."""
    times = {"Duration": ms * MS, "OriginDuration": ms * MS}
    length = {} if declared is None else {"request_Content-Length": str(declared)}
    method = {"RequestMethod": "POST"} if body or declared is not None else {}
    return json.dumps(
        {**LINE, "DownstreamStatus": status, "RequestContentSize": body, **times, **length, **method, **more}
    )


def test_a_line_tells_service_route_and_time() -> None:
    assert parse(line(**DATE)) == ("api-green", "GET /api/projects", "well", 0.005)


def test_what_is_logged_is_what_is_read() -> None:
    assert set(FIELDS) <= LINE.keys()


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("well", line(304)),
        ("refused", line(404, **DATE)),
        ("refused", line(413, 0, 2_000_000)),
        # The application's own errors.
        ("failed", line(500, **DATE)),
        ("failed", line(503, ms=30_000, **DATE)),
        ("failed", line(500, 300, 300, **DATE)),
        ("failed", line(500, 300, 300, ms=12_000, **DATE)),
        ("failed", line(500, 3, **DATE)),  # in chunks
        ("failed", line(500, **{"origin_Content-Length": "1"})),  # it has no clock
        # It broke the connection, or no container listened for as long as the request was held.
        ("failed", line(502, 300, 300, ms=52)),
        ("failed", line(502, 0, 0, ms=52)),
        ("failed", line(502, ms=53, **HTTP2)),
        ("failed", line(502, 0, 3, OriginDuration=1, Duration=14_000 * MS)),
        # A bad chunk, the end of the stream within a body, an upgrade to what has no name.
        ("malformed", line(500, RequestMethod="POST")),
        ("malformed", line(500, 3)),
        ("malformed", line(500, OriginDuration=0, Duration=922 * MS)),
        # The body came too slowly, or not as a whole.
        ("slow", line(504, 6, 30, ms=3_001)),
        ("slow", line(504, RequestMethod="POST", ms=3_004)),
        ("slow", line(500, 6, 30, **DATE)),
        ("slow", line(500, 6, ms=9_000, **DATE)),
        ("slow", line(502, 300, 300, ms=30_000)),
        # The client left.
        ("abandoned", line(499, 3, 30)),
        ("abandoned", line(0)),
        # The client reset the connection within a body, sent chunks without end, or lied about the length.
        ("broken", line(502, 3, 30, ms=301)),
        ("broken", line(502, ms=302)),
        ("broken", line(502, RequestMethod="POST", ms=302)),
        ("broken", line(502, 163_838)),
        ("broken", line(502, 1, 30, ms=50, **HTTP2)),
    ],
)
def test_a_failure_counts_only_where_no_client_can_cause_it(kind: str, entry: str) -> None:
    found = parse(entry)

    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    ("entry", "known"),
    [
        (line(**DATE), True),
        (line(204), True),
        (line(**{**DATE, "origin_Content-Length": "16384"}), True),
        (line(**{**DATE, "origin_Content-Length": "16385"}), False),  # HTTP/1: the client need not read
        (line(**{**DATE, "origin_Content-Length": "4096"}, **HTTP2), True),
        (line(**{**DATE, "origin_Content-Length": "4097"}, **HTTP2), False),
        (line(origin_Date="x"), False),  # in chunks, or a stream
        (line(201, 3, 3, **DATE), False),  # the client need not send
        (line(200, 3, RequestMethod="GET", **DATE), False),
        (line(404, **DATE), False),
        (line(500, **DATE), False),
        (line(**DATE, RequestProtocol="HTTP/3.0"), False),
    ],
)
def test_a_time_is_known_only_where_no_client_can_draw_it_out(entry: str, known: bool) -> None:
    found = parse(entry)

    assert found is not None
    assert (found.seconds is not None) is known


@pytest.mark.parametrize(
    "entry",
    [
        line(ServiceName="api-canary@file"),
        line(ServiceName="closed@file"),
        line(entryPointName="internal"),
        json.dumps({key: value for key, value in LINE.items() if key != "ServiceName"}),  # refused by the proxy
        json.dumps({key: value for key, value in LINE.items() if key != "Duration"} | {"DownstreamStatus": 502}),
        line(ServiceName=7),
        line(RequestPath=None),
        line(DownstreamStatus="many"),
        line()[:-9],
        "[]",
        "2026-11-29T13:42:13Z INF Starting provider *file.Provider",
        "",
    ],
)
def test_anything_else_in_the_log_is_passed_over(entry: str) -> None:
    assert parse(entry) is None


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.lists(one), max_leaves=3),
    st.data(),
)
def test_no_line_breaks_the_reading(value: Any, data: st.DataObject) -> None:
    parse(json.dumps({**LINE, **DATE, data.draw(st.sampled_from(sorted({**LINE, **DATE}))): value}))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "/"),
        ("/api/projects", "/api/projects"),
        ("/api/projects/", "/api/projects/"),
        ("/api/projects/17/scans", "/api/projects/*/scans"),
        ("/api/v1/projects/3f2b8a9c-0d1e", "/api/*/projects/*"),
        ("/api/users/ada.lovelace", "/api/users/ada.lovelace"),
        ("/assets/index-B1qZ.js", "/assets/*"),
        ("/api/projects?limit=1", "/api/projects"),
        ("/%ff/\x1b[31m/" + "x" * 40, "/*/*/*"),
        ("/a" * 50, "/a" * 8),
        ("*", "/*"),
    ],
)
def test_a_route_is_a_path_without_the_names_of_single_things(path: str, found: str) -> None:
    assert route("GET", path) == f"GET {found}"


@given(st.text(), st.text())
def test_a_route_is_short_and_safe_to_print(method: str, path: str) -> None:
    assert re.fullmatch(r"[A-Z*]+ /[A-Za-z_.~*/-]{0,270}", route(method, path))


class Recorded:
    """A host whose engine has these lines, by the moment it got them."""

    name = "web-1"
    environment = SimpleNamespace(project="ppm-test")

    def __init__(self, *logged: tuple[str, str]) -> None:
        self.logged, self.asked = list(logged), list[tuple[str, int]]()

    def run(self, argv: Sequence[str], **_: Any) -> Any:
        since, tail = argv[-2], int(argv[-1])
        self.asked.append((since, tail))
        text = "".join(f"{stamp} {entry}\n" for stamp, entry in self.logged[-tail:] if stamp >= since)
        return SimpleNamespace(stdout=base64.b64encode(gzip.compress(text.encode())).decode(), status=0)


def test_each_look_tells_what_the_one_before_did_not() -> None:
    host, log = Recorded(("01", line()), ("02", "INF words"), ("03", line(500, **DATE))), Log()

    first = log.read(host, "00")  # type: ignore[arg-type]
    again = log.read(host, "00")  # type: ignore[arg-type]
    host.logged.append(("04", line(404)))
    third = log.read(host, "00")  # type: ignore[arg-type]

    assert [[answer.kind for answer in look] for look in (first, again, third)] == [["well", "failed"], [], ["refused"]]
    assert host.asked == [("00", 2_000), ("03", 2_000), ("03", 2_000)]


def test_more_lines_than_expected_are_asked_for_again_and_there_is_an_end_to_it() -> None:
    host, log = Recorded(*((f"{number:05}", "{}") for number in range(30_000))), Log()
    host.logged[9_999:10_001] = [("09999", line()), ("10000", line(404))]

    assert [answer.kind for answer in log.read(host, "00000")] == ["refused"]  # type: ignore[arg-type]
    assert [tail for _, tail in host.asked] == [2_000, 20_000]
    assert log.cursor == "29999"


@pytest.mark.parametrize("said", ["no base64!", base64.b64encode(b"no gzip").decode()])
def test_a_host_that_says_something_else_is_told_of(said: str) -> None:
    host = SimpleNamespace(
        name="web-1", environment=Recorded.environment, run=lambda *_, **__: SimpleNamespace(stdout=said)
    )

    with pytest.raises(CommandFailed, match="access log cannot be read"):
        Log().read(host, "00")  # type: ignore[arg-type]


def test_an_engine_that_does_not_answer_has_said_nothing_yet() -> None:
    nothing = base64.b64encode(gzip.compress(b"")).decode()
    host = SimpleNamespace(
        name="web-1", environment=Recorded.environment, run=lambda *_, **__: SimpleNamespace(stdout=nothing)
    )
    log = Log("01")

    assert log.read(host, "00") == []  # type: ignore[arg-type]
    assert log.cursor == "01"
