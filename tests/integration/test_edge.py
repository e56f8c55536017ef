"""What users meet first: a real Traefik with a host's options and routes, and an upstream that tells what it got."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from python_on_whales import DockerClient
from ruamel.yaml import YAML

from ppmkit.config.environment import Environment, Images
from ppmkit.images.bases import ensure_bases
from ppmkit.release import render
from ppmkit.release.model import Release
from tests.integration.conftest import HARDENED, address
from tests.support.processes import threads
from tests.support.waiting import eventually
from tests.unit.conftest import environment_of

TIMEOUT = 2
"""Seconds that a client may take in these tests."""
MAX_BODY = 10_000
CSP = "default-src 'self'"


class _Upstream(BaseHTTPRequestHandler):
    """Api and page: says what it was asked, slowly if asked so."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/api/stream":
            self._stream()
        elif self.path == "/api/held":
            self._hold()
        else:
            self._say(200, dict(self.headers))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._say(201, len(body))

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(2 * TIMEOUT * 2):
            self.wfile.write(f"data: {number} {time.time()}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.5)

    def _hold(self) -> None:
        """Begin an answer, and end it when the client is gone."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        self.rfile.read(1)

    def _say(self, status: int, found: Any) -> None:
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", CSP)
        self.send_header("X-Powered-By", "Python")
        self.send_header("X-Port", str(self.server.server_address[1]))  # type: ignore[index]
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # as a real one has: a full queue would look like a host that is gone


@contextmanager
def listening(docker: DockerClient, port: int = 0, handler: type[BaseHTTPRequestHandler] = _Upstream) -> Iterator[str]:
    """Yield the URL of an upstream, as containers reach it."""
    # After a restart of the engine it may not say which address of the network is its own: the first.
    gateway = str(IPv4Network(docker.network.inspect("bridge").ipam.config[0]["Subnet"])[1])
    with _Server((gateway, port), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{gateway}:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def upstream(docker: DockerClient) -> Iterator[str]:
    with listening(docker) as url:
        yield url


@contextmanager
def edge(
    docker: DockerClient,
    folder: Path,
    upstream: str,
    page: str | None = None,
    ready: str = "/",
    timeout: int = TIMEOUT,
    logged: bool = False,
    **changes: Any,
) -> Iterator[httpx.Client]:
    """Yield a client of the proxy, run as a host runs it, once it has its routes."""
    environment = environment_of(**changes)
    folder.chmod(0o755)
    servers = {"blue": {"api": [upstream], "frontend": [page or upstream]}}
    routes = render.routes(environment, live="blue", preview="blue", servers=servers, logged=logged)  # type: ignore[arg-type]
    (folder / render.ROUTES).write_text(routes)
    image = ensure_bases(Images(bases="local"), docker, print)["traefik"]
    mounts = [(folder, "/etc/traefik/dynamic", "ro")]
    container = docker.run(image, _options(environment, timeout), detach=True, volumes=mounts, **HARDENED)
    container.reload()
    try:
        with httpx.Client(base_url=f"http://{address(container)}:8000", trust_env=False, timeout=30) as client:
            assert eventually(lambda: _has_routes(client, ready), 20), container.logs()
            yield client
    finally:
        docker.remove(container, force=True)


def _options(environment: Environment, timeout: int) -> list[str]:
    """Return the options of a host's proxy, but for how patient it is with clients: tests are not."""
    images = {name: f"{name}@sha256:{'0' * 64}" for name in ("api", "frontend", "steward", "traefik")}
    release = Release.model_validate({"id": "0a1b2c3d4e5f", "images": images, "secrets": {"session_secret": "0"}})
    compose = YAML(typ="safe").load(render.compose(environment, release))
    command: list[str] = compose["services"]["reverse-proxy"]["command"]
    patient = "--entryPoints.web.transport.respondingTimeouts.readTimeout=60s"
    assert patient in command
    return [patient.replace("60s", f"{timeout}s") if option == patient else option for option in command]


def _has_routes(client: httpx.Client, path: str) -> bool:
    try:
        return "X-Frame-Options" in client.get(path).headers
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def site(docker: DockerClient, upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    proxy = {"max_body": str(MAX_BODY)}
    folder = tmp_path_factory.mktemp("edge")
    with edge(docker, folder, upstream, app={"rate_limit_per_minute": 100_000}, proxy=proxy) as client:
        yield client


def test_a_body_that_is_too_large_never_reaches_the_api(site: httpx.Client) -> None:
    assert site.post("/api/projects", content=bytes(MAX_BODY)).json() == MAX_BODY
    for method in ("POST", "PUT", "PATCH", "DELETE", "GET"):
        for path in ("/api/projects", "/"):
            refused = site.request(method, path, content=bytes(MAX_BODY + 1))
            assert (refused.status_code, "X-Port" in refused.headers) == (413, False)


def test_a_client_that_sends_its_body_too_slowly_is_sent_away_and_others_are_served(site: httpx.Client) -> None:
    head = b"POST /api/projects HTTP/1.1\r\nHost: ppm\r\nContent-Length: 1000\r\n\r\n"

    assert TIMEOUT - 0.5 < _until_closed(site, head) < TIMEOUT + 3


def test_a_client_that_sends_its_headers_too_slowly_is_sent_away(site: httpx.Client) -> None:
    assert TIMEOUT - 0.5 < _until_closed(site, b"GET / HTTP/1.1\r\nHost: ppm\r\n") < TIMEOUT + 3


def _until_closed(site: httpx.Client, first: bytes) -> float:
    """Send a byte four times a second after the first ones; return how long the proxy listened to that."""
    began = time.monotonic()
    with socket.create_connection((site.base_url.host, 8000), 20) as slow:
        slow.sendall(first)
        slow.settimeout(0.25)
        while time.monotonic() < began + 15:
            try:
                answer = slow.recv(4096)
            except TimeoutError:
                assert site.get("/api/system").is_success
                slow.sendall(b"x")
            except ConnectionError:
                break
            else:
                if not answer:
                    break
    return time.monotonic() - began


def test_headers_without_end_are_refused(site: httpx.Client) -> None:
    assert site.get("/", headers={"X-Long": "x" * 60_000}).status_code == 431


def test_a_stream_outlives_the_timeout_and_arrives_as_it_is_sent(site: httpx.Client) -> None:
    with site.stream("GET", "/api/stream") as answer:
        delays = [time.time() - float(line.split()[2]) for line in answer.iter_lines() if line]

    assert len(delays) == 2 * TIMEOUT * 2
    assert max(delays) < 0.4


def test_what_waits_for_the_api_while_it_does_not_listen_is_answered(docker: DockerClient, tmp_path: Path) -> None:
    with listening(docker) as url:
        port = int(url.rpartition(":")[2])
    with edge(docker, tmp_path, url, ready="/metrics", timeout=10) as client:
        began = time.monotonic()
        with threads(8) as pool:
            reads = [pool.submit(client.get, "/api/system") for _ in range(4)]
            writes = [pool.submit(client.post, "/api/projects", content=b"x") for _ in range(4)]
            assert not eventually(lambda: any(held.done() for held in reads + writes), 4)
            with listening(docker, port):
                statuses = [held.result(60).status_code for held in reads + writes]

    assert statuses == [200] * 4 + [201] * 4
    assert time.monotonic() - began > 4


def test_every_answer_has_the_security_headers_once(site: httpx.Client) -> None:
    for path in ("/", "/api/system", "/metrics"):
        headers = site.get(path).headers
        assert headers.get_list("X-Content-Type-Options") == ["nosniff"], path
        assert headers.get_list("X-Frame-Options") == ["DENY"]
        assert headers.get_list("Referrer-Policy") == ["no-referrer"]
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert not {"Server", "X-Powered-By"} & headers.keys()
    assert site.get("/").headers.get_list("Content-Security-Policy") == [CSP]


@pytest.mark.parametrize(
    "path", ["/metrics", "/readyz", "/healthz", "/statusz", "/%6detrics", "/%73tatusz", "//metrics", "/x/../readyz"]
)
def test_what_is_for_the_host_alone_is_not_found(site: httpx.Client, path: str) -> None:
    with socket.create_connection((site.base_url.host, 8000), 5) as raw:  # httpx would put the path in order
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: ppm\r\nConnection: close\r\n\r\n".encode())
        status = raw.recv(4096).split()[1]
    assert status in (b"404", b"400", b"301"), status


def test_the_proxys_own_api_is_not_public(site: httpx.Client) -> None:
    for host in ("traefik", "preview", "localhost:8081", "127.0.0.1"):
        for path in ("/api/http/routers", "/api/rawdata", "/dashboard/", "/ping"):
            assert "@file" not in site.get(path, headers={"Host": host}).text


def test_the_dashboard_is_on_the_entry_point_of_the_loopback_by_no_name_that_dns_could_give(site: httpx.Client) -> None:
    inside = site.base_url.copy_with(port=8081)

    shown = httpx.get(inside.join("/dashboard/"), headers={"Host": "127.0.0.1:50123"}, trust_env=False)
    rebound = httpx.get(inside.join("/api/rawdata"), headers={"Host": "evil.example"}, trust_env=False)

    assert (shown.status_code, "<title>Traefik" in shown.text) == (200, True)
    assert rebound.status_code == 404


def test_what_is_for_the_api_goes_there_and_all_else_to_the_page(
    docker: DockerClient, upstream: str, tmp_path: Path
) -> None:
    api = ("/api", "/api/", "/api/system", "/api/docs?x=1")
    with listening(docker) as page, edge(docker, tmp_path, upstream, page) as client:
        for method in ("GET", "POST"):
            answered = {path: client.request(method, path).headers["X-Port"] for path in (*api, "/", "/a/b?/api")}
            wanted = {path: (upstream if path in api else page).rpartition(":")[2] for path in answered}
            assert answered == wanted, method


def test_nobody_is_believed_who_says_for_whom_he_asks(site: httpx.Client) -> None:
    claims = {"X-Forwarded-For": "6.6.6.6", "X-Real-Ip": "6.6.6.6", "X-Forwarded-Proto": "https"}

    got = {name.lower(): value for name, value in site.get("/api/system", headers=claims).json().items()}

    assert "6.6.6.6" not in got["x-forwarded-for"]
    assert "6.6.6.6" not in got["x-real-ip"]
    assert got["x-forwarded-proto"] == "http"


def _answers(client: httpx.Client, count: int, method: str = "GET", **headers: str) -> list[httpx.Response]:
    with threads(8) as pool:
        paths = ["/", "/api/system"] * (count // 2)
        return list(pool.map(lambda path: client.request(method, path, headers=headers), paths))


def _statuses(client: httpx.Client, count: int, **headers: str) -> list[int]:
    return [answer.status_code for answer in _answers(client, count, **headers)]


def test_who_asks_too_often_is_told_when_to_come_back(docker: DockerClient, upstream: str, tmp_path: Path) -> None:
    with edge(docker, tmp_path, upstream, app={"rate_limit_per_minute": 60}) as client:
        answers = _answers(client, 80, **{"X-Forwarded-For": "6.6.6.6"})
        posted = _answers(client, 10, "POST")

    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert 10 < len(refused) < 25
    assert 429 in {answer.status_code for answer in posted}
    assert {answer.headers["Retry-After"] for answer in refused} <= {"1", "2"}


@contextmanager
def _streams(client: httpx.Client, count: int, source: str | None = None, **headers: str) -> Iterator[list[int]]:
    """Yield the statuses of so many event streams, asked for one after another, all of them open."""
    opened = []
    for _ in range(count):
        connection = HTTPConnection(client.base_url.host, 8000, 10, (source, 0) if source else None)
        connection.request("GET", "/api/held", headers=headers)
        opened.append((connection, connection.getresponse()))
    try:
        yield [answer.status for _, answer in opened]
    finally:
        for connection, answer in opened:
            answer.close()
            connection.close()


def test_one_address_has_so_many_requests_open_and_others_are_served(
    docker: DockerClient, upstream: str, tmp_path: Path
) -> None:
    elsewhere = docker.network.inspect("bridge").ipam.config[0]["Subnet"]
    other = next(
        line for line in subprocess.check_output(["hostname", "-I"], text=True).split()
        if "." in line and IPv4Address(line) not in IPv4Network(elsewhere)
    )  # fmt: skip
    proxy = {"max_requests_per_address": 10}
    with edge(docker, tmp_path, upstream, app={"rate_limit_per_minute": 100_000}, proxy=proxy) as client:
        with _streams(client, 14, **{"X-Forwarded-For": "203.0.113.7"}) as opened:
            assert opened == [200] * 10 + [429] * 4
            assert client.get("/").status_code == 429
            with _streams(client, 2, other, **{"X-Forwarded-For": "203.0.113.7"}) as others:
                assert others == [200, 200]
        assert eventually(lambda: client.get("/").status_code == 200)


def test_behind_a_trusted_proxy_the_open_requests_of_each_whom_it_names_are_counted(
    docker: DockerClient, upstream: str, tmp_path: Path
) -> None:
    trusted = docker.network.inspect("bridge").ipam.config[0]["Subnet"]
    changes = {"app": {"rate_limit_per_minute": 100_000}}
    proxy = {"max_requests_per_address": 10, "trusted_proxies": [trusted]}
    with (
        edge(docker, tmp_path, upstream, proxy=proxy, **changes) as client,
        _streams(client, 12, **{"X-Forwarded-For": "198.51.100.9, 203.0.113.1"}) as first,
        _streams(client, 8, **{"X-Forwarded-For": "203.0.113.2"}) as second,
    ):
        assert first == [200] * 10 + [429] * 2
        assert second == [200] * 8


def test_where_proxies_are_trusted_who_comes_past_them_gains_nothing_by_naming_others(
    docker: DockerClient, upstream: str, tmp_path: Path
) -> None:
    proxy = {"max_requests_per_address": 10, "trusted_proxies": ["198.51.100.0/24"]}
    with (
        edge(docker, tmp_path, upstream, proxy=proxy, app={"rate_limit_per_minute": 100_000}) as client,
        _streams(client, 8, **{"X-Forwarded-For": "203.0.113.1"}) as first,
        _streams(client, 4, **{"X-Forwarded-For": "203.0.113.2"}) as second,
    ):
        assert (first, second) == ([200] * 8, [200] * 2 + [429] * 2)


def test_all_addresses_together_have_as_many_requests_open_as_the_proxy_has_memory_for(
    docker: DockerClient, upstream: str, tmp_path: Path
) -> None:
    trusted = docker.network.inspect("bridge").ipam.config[0]["Subnet"]
    changes: dict[str, Any] = {
        "app": {"rate_limit_per_minute": 100_000},
        "services": {"reverse_proxy": {"memory": "64MiB", "cpus": 1.0}},
        "proxy": {"trusted_proxies": [trusted]},
    }
    with edge(docker, tmp_path, upstream, **changes) as client, ExitStack() as kept:
        statuses = []
        for number in range(11):
            named = {"X-Forwarded-For": f"203.0.113.{number}"}
            statuses += kept.enter_context(_streams(client, 10, **named))
    assert statuses == [200] * 100 + [429] * 10


def test_a_header_whose_name_only_looks_like_another_is_not_passed_on(site: httpx.Client) -> None:
    got = site.get("/api/system", headers={"X_Forwarded_For": "6.6.6.6", "X-Kept": "1"}).json()

    assert "6.6.6.6" not in got.values()
    assert got["X-Kept"] == "1"


def test_behind_a_trusted_proxy_whom_it_names_is_counted(docker: DockerClient, upstream: str, tmp_path: Path) -> None:
    trusted = docker.network.inspect("bridge").ipam.config[0]["Subnet"]
    changes = {"app": {"rate_limit_per_minute": 60}, "proxy": {"trusted_proxies": [trusted]}}
    with edge(docker, tmp_path, upstream, **changes) as client:
        first = _statuses(client, 80, **{"X-Forwarded-For": "203.0.113.1"})
        other = _statuses(client, 20, **{"X-Forwarded-For": "9.9.9.9, 203.0.113.2"})
        again = _statuses(client, 40, **{"X-Forwarded-For": "9.9.9.9, 203.0.113.1"})

    assert 429 in first
    assert set(other) == {200}
    assert again.count(429) > 20
