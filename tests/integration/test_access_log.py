"""What each kind of request leaves in the access log of a real Traefik with a host's options."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from python_on_whales import Container, DockerClient

from ppmkit.traffic.access_log import Answer, parse
from tests.integration.conftest import address
from tests.integration.test_edge import edge, listening
from tests.support.waiting import eventually

TIMEOUT = 2
"""Seconds that a client may take to send its body."""


class _Application(BaseHTTPRequestHandler):
    """Does what its path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._act()

    def do_POST(self) -> None:
        if self.headers["Transfer-Encoding"] == "chunked":
            while int(self.rfile.readline() or b"0", 16):
                self.rfile.readline()
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._act()

    def _act(self) -> None:
        what = self.path.rpartition("/")[2]
        if what == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if what == "late":
            time.sleep(0.5)  # the application takes its time; its client does not wait
        self.send_response(500 if what == "fail" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(docker: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        listening(docker, handler=_Application) as application,
        edge(docker, tmp_path_factory.mktemp("log"), application, timeout=TIMEOUT, logged=True) as client,
    ):
        yield client


@pytest.fixture
def proxy(docker: DockerClient, site: httpx.Client) -> Container:
    """The proxy's container."""
    return next(found for found in docker.container.list() if address(found) == site.base_url.host)


def answers(proxy: Container) -> list[Answer]:
    return [answer for line in proxy.logs().splitlines() if (answer := parse(line))]


def request(method: str, what: str, head: str = "", body: str = "") -> bytes:
    return f"{method} /api/{what} HTTP/1.1\r\nHost: ppm\r\n{head}\r\n{body}".encode()


CHUNKED = "Transfer-Encoding: chunked\r\n"
LENGTH = "Content-Length: 30\r\n"
BODY = "x" * 30


@pytest.mark.parametrize(
    ("kind", "sent", "ends"),
    [
        ("well", request("GET", "ok"), "reads"),
        ("well", request("POST", "ok", LENGTH, BODY), "reads"),
        ("failed", request("GET", "fail"), "reads"),
        ("failed", request("POST", "fail", LENGTH, BODY), "reads"),
        ("failed", request("POST", "fail", CHUNKED, "3\r\nabc\r\n0\r\n\r\n"), "reads"),
        ("failed", request("POST", "reset", LENGTH, BODY), "reads"),
        ("broken", request("GET", "reset"), "reads"),
        ("malformed", request("POST", "ok", CHUNKED, "ZZ\r\n"), "reads"),
        ("malformed", request("POST", "ok", CHUNKED, "3\r\nabc\r\nZZ\r\n"), "reads"),
        ("slow", request("POST", "ok", LENGTH, "x"), "reads"),
        ("abandoned", request("GET", "late"), "leaves"),
        ("broken", request("POST", "ok", LENGTH, "x"), "resets"),
        ("broken", request("POST", "late", CHUNKED), "resets"),
    ],
)
def test_the_log_tells_whose_fault_it_was(
    site: httpx.Client, proxy: Container, kind: str, sent: bytes, ends: str
) -> None:
    before = len(answers(proxy))

    with socket.create_connection((site.base_url.host, 8000), 10) as client:
        client.sendall(sent)
        if ends == "reads":
            client.recv(4096)
        else:
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(4096)
        if ends == "resets":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert eventually(lambda: len(answers(proxy)) > before), proxy.logs()
    [found] = answers(proxy)[before:]
    method, path = sent.decode().split()[:2]
    # A body that comes too slowly ends by what happens first: the application gives up, or the proxy does. A reset
    # reaches the application through the proxy, or the proxy alone. None of these counts.
    assert found[:2] == ("api-blue", f"{method} {path}")
    assert found.kind == kind or {found.kind, kind} in ({"slow", "abandoned"}, {"broken", "abandoned"})


def test_no_address_no_query_and_no_header_of_a_client_is_logged(site: httpx.Client, proxy: Container) -> None:
    before = len(answers(proxy))

    site.get("/api/ok?token=hush-query", headers={"User-Agent": "hush-agent", "Cookie": "a=hush-cookie"})

    assert eventually(lambda: len(answers(proxy)) > before)
    assert "/api/ok" in proxy.logs()
    assert "hush" not in proxy.logs()
    with socket.create_connection((site.base_url.host, 8000)) as own:
        assert f'"{own.getsockname()[0]}' not in proxy.logs()


def test_what_the_host_itself_asks_is_not_logged(site: httpx.Client, proxy: Container) -> None:
    before = len(answers(proxy))

    inside = site.base_url.copy_with(port=8081)
    httpx.get(inside.join("/api/inside"), headers={"Host": "preview"}, trust_env=False)
    site.get("/api/ok")

    assert eventually(lambda: len(answers(proxy)) > before)
    assert "/api/inside" not in proxy.logs()
