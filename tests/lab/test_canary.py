"""Releases that get ready and are bad: they are found out by few users or soon, and the old one serves on."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from bench.ledger import Report, load, lost
from bench.site import change_code
from tests.support.site import Done, Site
from tests.support.waiting import eventually

QUICK = {"canary_step": "4s", "bake": "3s", "max_latency_ratio": 100}
"""Other tests use the processor meanwhile, so latency tells nothing here; unit/traffic/test_comparison.py tests it."""


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(live: Site) -> Iterator[None]:
    """After these tests the site serves this checkout again."""
    yield
    live.configure()
    live.ppmctl("deploy")


@pytest.fixture(scope="module")
def token(live: Site) -> str:
    """What the load calls with."""
    return live.user


@pytest.fixture
def before(live: Site) -> str:
    """The release that serves; the times to watch are short."""
    live.configure(upgrade=QUICK)
    return live.serving()


def edit(file: Path, mark: str, code: str) -> None:
    """Insert lines of code before the first line of a file that begins with the mark."""
    text = file.read_text()
    assert f"\n{mark}" in text
    file.write_text(text.replace(f"\n{mark}", f"\n{code}{mark}", 1))


def break_programs(checkout: Path, when: str) -> None:
    """Let the api of a checkout answer 500 to programs with a token, if the condition holds."""
    tokens = checkout / "app" / "api" / "tokens.py"
    edit(tokens, "import time", "import random\n")
    edit(tokens, "    trusted: dict", f"    if {when}:\n        raise RuntimeError('no smoke check knows of this')\n")


def refuse(checkout: Path, unless: str) -> None:
    """Let the api of a checkout answer 500 to every request but those of which a condition holds."""
    edit(checkout / "app" / "api" / "edge.py", "        async def send_with_headers", f"        assert {unless}\n")


def says(done: Done, words: str) -> None:
    """Check that an error has these words; they are a regular expression."""
    assert re.search(words, done.stderr), done.stderr


def nothing_is_lost(live: Site, token: str, report: Report) -> bool:
    """Return whether every acknowledged write is there."""
    return bool(report.acknowledged) and asyncio.run(lost(live.url, token, report.acknowledged)) == set()


def test_a_good_release_gets_its_users_in_steps_and_no_request_fails(
    live: Site, checkout: Path, before: str, token: str
) -> None:
    change_code(checkout)
    live.ppmctl("images build", checkout=checkout)

    with load(live.url, token, rate=60, connections=8) as running:
        live.ppmctl("deploy", "--canary", "5,25,100", checkout=checkout)
        report = running.stop()

    assert report.failures == []
    assert nothing_is_lost(live, token, report)
    steps = {step["name"]: step["outcome"] for step in live.json("releases")[0]["steps"]}
    figures = re.findall(r"(\d+) %: \w+: 0 of ([\d,]+) answers were 5xx, \w+ in the same 4 s: 0 of ", steps["canary"])
    assert [share for share, _ in figures] == ["5", "25"]
    few, more = (int(answers.replace(",", "")) for _, answers in figures)
    assert 5 < few < more
    assert "0 failed" in steps["bake"]
    assert set(report.releases) == {before, live.serving()}


def test_a_release_that_fails_some_requests_is_found_out_by_five_per_cent_of_the_users(
    live: Site, checkout: Path, before: str, token: str
) -> None:
    break_programs(checkout, "random.random() < 0.2")
    live.configure(upgrade={**QUICK, "canary_step": "20s"})
    live.ppmctl("images build", checkout=checkout)

    with load(live.url, token, rate=70, connections=8) as running:
        done = live.ppmctl("deploy", "--canary", "5,25,100", status=1, checkout=checkout)
        report = running.stop()

    says(done, r"canary: test[-0-9]+: (blue|green) did worse than (blue|green) with 5 % of the requests")
    says(done, r"\d+ of \d+ answers were 5xx \(\d+\.\d %\), \w+ in the same \d+ s: 0 of \d+")
    says(done, "no smoke check knows of this")
    says(done, f"Release {before} serves")
    assert live.serving() == before
    assert 0 < report.failed < 0.05 * report.requests
    assert [failure for failure in report.failures if ": 500" not in failure] == []
    assert nothing_is_lost(live, token, report)


def test_a_release_that_fails_after_the_switch_is_rolled_back(
    live: Site, checkout: Path, before: str, token: str
) -> None:
    break_programs(checkout, "True")
    live.ppmctl("images build", checkout=checkout)

    with load(live.url, token, rate=60, connections=8) as running:
        done = live.ppmctl("deploy", status=1, checkout=checkout)
        report = running.stop()

    says(done, r"bake: test[-0-9]+: (blue|green) did worse than (blue|green) before the switch")
    says(done, r"\d+ of \d+ answers were 5xx \(\d+\.\d %\), \w+ before: 0 of \d+")
    says(done, f"Release {before} serves")
    assert live.serving() == before
    assert report.failed > 0
    assert [failure for failure in report.failures if ": 500" not in failure] == []
    assert nothing_is_lost(live, token, report)


CHUNKS = "Transfer-Encoding: chunked\r\nContent-Type: application/json"
NUISANCES = {
    "malformed": ("POST", CHUNKS, b"ZZ\r\n"),
    "cut": ("POST", CHUNKS, b'5\r\n{"nam\r\nZZ\r\n'),
    "reset": ("POST", CHUNKS, b""),
    "slow": ("POST", "Content-Length: 60000", b"{"),
    "oversized": ("POST", CHUNKS, b"FFFF\r\n" + bytes(65_535) + b"\r\nFFFF\r\n" + bytes(65_535) + b"\r\n0\r\n\r\n"),
    "declared": ("POST", "Content-Length: 900000000", b""),
    "abandoned": ("GET", "Connection: close", b""),
}


@contextmanager
def nuisance(live: Site) -> Iterator[Counter[str]]:
    """A client without a login asks for the release ten times a second, and does everything wrong that it can when
    that changes. Yield what the proxy answered to that: {kind and status: how often}."""
    answered, done = Counter[str](), threading.Event()

    def watch() -> None:
        before = live.serving()
        while httpx.get(f"{live.url}/api/system").headers["X-PPM-Release"] == before:
            if done.wait(0.1):
                return
        with ThreadPoolExecutor(12) as pool:
            answered.update(pool.map(partial(_provoke, live.host.http_port), 12 * list(NUISANCES)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield answered
    finally:
        done.set()
        thread.join(60)


def _provoke(port: int, kind: str) -> str:
    """Ask for something in a wrong way; return the way, and the status of the answer if one is waited for."""
    method, head, body = NUISANCES[kind]
    request = f"{method} /api/projects HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode() + body
    with socket.create_connection(("localhost", port), 10) as client:
        client.settimeout(0.1 if kind in ("reset", "slow", "abandoned") else 10)
        with suppress(OSError):  # what is refused before it was sent, or not answered
            client.sendall(request)  # at once: the proxy sees what is wrong with it before the api answers
            return f"{kind} {client.recv(4096).decode(errors='replace')[9:12]}"
        if kind != "slow":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return kind


@pytest.mark.parametrize("alone", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_client_that_does_everything_wrong_at_the_switch_undoes_no_deploy(
    live: Site, before: str, token: str, alone: bool
) -> None:
    users = nullcontext() if alone else load(live.url, token, rate=10, connections=2)
    live.configure(upgrade=QUICK, app={"scan_interval_minutes": 13 if alone else 14})

    with nuisance(live) as answered, users:
        live.ppmctl("deploy")

    assert live.serving() != before
    assert answered["malformed 500"] + answered["cut 500"] > 12, answered
    steps = {step["name"]: step["outcome"] for step in live.json("releases")[0]["steps"]}
    assert re.search(r"api-\w+: 0 of \d+ answers were 5xx, \w+ before: 0 of ", steps["bake"]), steps["bake"]
    assert re.search(r"not counted: .*\d\d malformed requests", steps["bake"]), steps["bake"]


@pytest.mark.full
def test_a_release_that_fails_on_post_alone_is_undone(live: Site, checkout: Path, before: str, token: str) -> None:
    refuse(checkout, "scope['method'] != 'POST'")
    live.ppmctl("images build", checkout=checkout)

    with load(live.url, token, rate=30, connections=4) as running:
        done = live.ppmctl("deploy", status=1, checkout=checkout)
        running.stop()

    says(done, r"POST /api/projects: \d+ of \d+")
    says(done, f"Release {before} serves")
    assert live.serving() == before


@pytest.mark.full
def test_a_route_that_fails_in_both_releases_undoes_nothing(
    live: Site, checkout: Path, before: str, token: str
) -> None:
    refuse(checkout, "scope['path'] != '/api/docs'")
    live.ppmctl("deploy", checkout=checkout)
    bad, done = live.serving(), threading.Event()
    asked = Counter[int]()

    def ask() -> None:
        while not done.wait(0.05):
            asked[httpx.get(f"{live.url}/api/docs").status_code] += 1

    change_code(checkout)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        with load(live.url, token, rate=10, connections=2):
            live.ppmctl("deploy", checkout=checkout)
    finally:
        done.set()
        thread.join(30)

    assert live.serving() not in (before, bad)
    assert asked.keys() == {500}
    steps = {step["name"]: step["outcome"] for step in live.json("releases")[0]["steps"]}
    assert re.search(r"\d+ 5xx on routes that failed before too", steps["bake"]), steps["bake"]


@pytest.mark.full
def test_a_canary_that_was_killed_is_ended_by_the_next_deploy_and_no_request_fails(live: Site, token: str) -> None:
    live.configure(upgrade=QUICK, app={"scan_interval_minutes": 13})
    routes = f"cat {live.directory}/traefik/dynamic/routes.yaml"

    with load(live.url, token, rate=40, connections=4) as running:
        with live.start("deploy", "--canary", "25") as deploy:
            assert eventually(lambda: "api-canary" in live.root(routes), 180), deploy.said
            deploy.process.kill()
        live.configure(upgrade=QUICK)
        live.ppmctl("deploy")
        report = running.stop()

    assert report.failures == []
    assert "api-canary" not in live.root(routes)
    assert live.serving()
    assert nothing_is_lost(live, token, report)


def test_a_release_that_fails_a_smoke_check_never_gets_a_user(live: Site, checkout: Path, before: str) -> None:
    edit(checkout / "app" / "api" / "system.py", "    seen = look(state)", "    raise RuntimeError\n")

    done = live.ppmctl("deploy", status=1, checkout=checkout)

    says(done, "smoke: test[-0-9]+: the new release failed a smoke check")
    says(done, "GET /api/system: status 500")
    says(done, f"Release {before} serves")
    assert live.serving() == before


@pytest.mark.full
def test_a_release_that_fails_only_at_the_public_port_is_found_out_without_users(
    live: Site, checkout: Path, before: str
) -> None:
    preview = "(b'host', b'preview') in scope['headers']"
    refuse(checkout, f"{preview} or scope['path'] != '/api/openapi.json'")

    done = live.ppmctl("deploy", status=1, checkout=checkout)

    says(done, r"bake: test[-0-9]+: 3 of \d+ smoke checks failed after the switch")
    says(done, "GET /api/openapi.json: status 500")
    says(done, f"Release {before} serves")
    assert live.serving() == before
