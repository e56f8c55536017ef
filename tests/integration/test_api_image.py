"""The image of api and worker as a host runs it: no root, nothing writable but its data, drained before it ends."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from threading import Event

import httpx
import pytest
from python_on_whales import Container, DockerClient, DockerException

from ppmkit.paths import KIT
from tests.integration.conftest import (
    APP,
    DRAIN_SECONDS,
    HARDENED,
    RELEASE,
    Run,
    SlowPost,
    Writers,
    address,
    build_api,
    client,
    ended,
    exit_code,
    ready,
    until,
)
from tests.support.processes import threads
from tests.unit.app.gitserver import git_server


@pytest.fixture
def api(run: Run) -> Container:
    return ready(run("ppm", "serve"))


@pytest.fixture
def http(api: Container) -> Iterator[httpx.Client]:
    with client(api, token(api)) as http:
        yield http


def token(container: Container, name: str = "test") -> str:
    return str(container.execute(["ppm", "token", "create", name]))


def names(http: httpx.Client) -> set[str]:
    """Return the names of all projects."""
    found: set[str] = set()
    for offset in count(0, 200):
        items = http.get("/api/projects", params={"limit": 200, "offset": offset}).raise_for_status().json()["items"]
        found |= {item["name"] for item in items}
        if not items:
            return found
    raise AssertionError("it counts for ever")


def listen(container: Container, opened: Event) -> list[str]:
    """Read the stream of events to its end; return its lines. A stream that breaks is an error."""
    lines = []
    with client(container) as http, http.stream("GET", "/api/events") as stream:
        for line in stream.iter_lines():
            lines.append(line)
            opened.set()
    return lines


def refuses(container: Container) -> bool:
    """Return whether nobody listens any more."""
    try:
        socket.create_connection((address(container), 8000), 1).close()
    except OSError:
        return True
    return False


def test_nothing_that_was_sent_is_lost_when_it_is_told_to_end(run: Run, api: Container) -> None:
    allowed, opened = token(api), Event()
    with threads() as pool:
        stream: Future[list[str]] = pool.submit(listen, api, opened)
        writers, slow = Writers(api, allowed), SlowPost(api, allowed)
        assert opened.wait(10)
        until(lambda: len(writers.acknowledged) > 100, api)

        began = time.monotonic()
        stopping = pool.submit(api.stop, time=60)
        writers.join()
        lines = stream.result(10)
        assert refuses(api)
        answer = slow.finish()
        stopping.result(60)
        took = time.monotonic() - began

    assert writers.lost == []
    assert answer.startswith("HTTP/1.1 201 ")
    assert "connection: close" in answer
    assert f"x-ppm-release: {RELEASE}" in answer
    assert any(line.startswith("data: ") for line in lines)
    assert (exit_code(api), took < DRAIN_SECONDS) == (0, True)
    with client(ready(run("ppm", "serve")), allowed) as http:
        assert names(http) == {*writers.acknowledged, slow.name}


def test_who_never_finishes_does_not_hold_it_up_for_ever(run: Run) -> None:
    serving = ready(run("ppm", "serve", drain_seconds=4))
    slow = SlowPost(serving, token(serving))

    began = time.monotonic()
    serving.stop(time=60)

    assert time.monotonic() - began < 5
    assert exit_code(serving) == 0
    slow._socket.close()


def test_it_says_that_it_leaves_while_it_still_answers(api: Container) -> None:
    answers: list[httpx.Response] = []

    def leaving() -> bool:
        answers.append(http.get("/readyz"))
        return answers[-1].status_code == 503

    with client(api) as http, threads() as pool:
        stopping = pool.submit(api.stop, time=60)
        until(leaving, api)
        stopping.result(60)

    assert answers[-1].json()["reason"] == "shutting down"
    assert answers[-1].headers["Connection"] == "close"


def test_replicas_that_start_at_once_on_an_empty_volume_migrate_it_once(run: Run) -> None:
    replicas = [run("ppm", "serve") for _ in range(3)]

    for replica in replicas:
        ready(replica)

    said = [json.loads(line)["event"] for replica in replicas for line in replica.logs().splitlines()]
    applied = [event for event in said if event.startswith("Running upgrade")]
    assert applied
    assert len(applied) == len(set(applied))


def test_it_runs_as_nobody_in_particular_even_when_not_told_to(docker: DockerClient, api_image: str) -> None:
    assert docker.image.inspect(api_image).config.user == "10001:10001"


def test_nothing_is_writable_but_its_data_and_tmp(api: Container) -> None:
    script = """
import os
skip = {"/proc", "/sys", "/dev"}
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in skip]
    for path in [folder, *(os.path.join(folder, name) for name in files)]:
        if os.access(path, os.W_OK, follow_symlinks=False):
            print(path)
"""
    writable = api.execute(["python", "-c", script]).split()

    assert {path.split("/")[1] for path in writable} == {"data", "tmp"}


def test_its_sqlite_has_no_corruption_bug(api: Container) -> None:
    found = json.loads(api.execute(["ppm", "version"]))

    assert tuple(map(int, found["sqlite"].split("."))) >= (3, 51, 3)
    assert found["release"] == RELEASE


def test_the_health_check_of_the_stack_passes(api: Container) -> None:
    assert json.loads(api.execute(["curl", "-fsS", "http://127.0.0.1:8000/readyz"])) == {
        "status": "ready",
        "release": RELEASE,
    }


def test_a_token_is_printed_once_and_lets_in(api: Container, http: httpx.Client) -> None:
    allowed = http.headers["Authorization"].removeprefix("Bearer ")

    assert http.get("/api/projects").status_code == 200
    assert allowed not in api.execute(["ppm", "token", "list"]) + api.logs()
    with pytest.raises(DockerException):
        token(api)


def test_without_its_secret_it_does_not_start_and_says_what_to_mount(
    docker: DockerClient, api_image: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DockerException) as refused:
        docker.run(api_image, remove=True, **HARDENED)

    assert refused.value.return_code == 1
    said = capfd.readouterr().err + (refused.value.stderr or "")
    assert "ppm: the session secret is missing or shorter than 32 characters: mount it at" in said
    assert "Traceback" not in said


def test_a_worker_is_healthy_until_its_heartbeat_is_old(run: Run) -> None:
    [check] = re.findall(r'CMD-SHELL, "(find /tmp/heartbeat.+?)"', (KIT / "docker-compose.yml.j2").read_text())
    worker = run("ppm", "worker")

    def healthy() -> bool:
        return worker.execute(["sh", "-c", f"if {check}; then echo yes; else echo no; fi"]) == "yes"

    until(healthy, worker)
    old = f"touch -d '40 seconds ago' /tmp/heartbeat; {check}"
    assert [ended(run("sh", "-c", script))[0] for script in (check, old)] == [1, 1]


def scans(worker: Container) -> bool:
    """Return whether git runs in the worker."""
    return "ls-remote" in worker.execute(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])


def test_the_scan_in_flight_is_finished_before_the_worker_ends(
    run: Run, api: Container, http: httpx.Client, tmp_path: Path
) -> None:
    gateway = str(api.network_settings.networks["bridge"].gateway)
    with git_server(tmp_path, gateway) as server, threads() as pool:
        url = server.create("tool.git", "a@example.org", "b@example.org")
        server.pause()
        location = http.post("/api/projects", json={"url": url}).headers["Location"]
        worker = run("ppm", "worker")
        until(lambda: scans(worker), worker)

        stopping = pool.submit(worker.stop, time=60)
        until(lambda: "stopping: waiting for runs in flight" in worker.logs(), worker)
        server.resume()
        stopping.result(60)

    project = http.get(location).json()
    assert (project["commits"], project["contributors"], project["scan_error"]) == (2, 2, None)
    assert exit_code(worker) == 0
    assert http.get("/api/system").json()["worker"] is None


def test_a_scan_that_does_not_end_is_cut_short_in_time(
    run: Run, api: Container, http: httpx.Client, tmp_path: Path
) -> None:
    gateway = str(api.network_settings.networks["bridge"].gateway)
    with git_server(tmp_path, gateway) as server:
        server.pause()
        location = http.post("/api/projects", json={"url": server.url("tool.git")}).headers["Location"]
        worker = run("ppm", "worker", drain_seconds=7)
        until(lambda: scans(worker), worker)

        worker.stop(time=7)

    assert exit_code(worker) == 0
    assert http.get(location).json()["scanned_at"] is None


def test_an_unchanged_tree_is_the_same_image_and_changed_code_is_one_small_layer(
    docker: DockerClient, api_image: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(APP, tmp_path / "app", ignore=shutil.ignore_patterns("ui", "__pycache__")))
    for path in copy.rglob("*.py"):
        path.touch()
    assert build_api(docker, "ppm-test/api:same", copy) == api_image

    with (copy / "models.py").open("a") as source:
        source.write("# changed\n")
    changed = docker.image.inspect(build_api(docker, "ppm-test/api:changed", copy)).root_fs.layers
    before = docker.image.inspect(api_image).root_fs.layers

    assert changed[:-1] == before[:-1]
    assert changed[-1] != before[-1]
    size = docker.run(api_image, ["du", "--summarize", "--bytes", "/srv/app"], remove=True)
    assert int(size.split()[0]) < 1 << 20
