"""Deadlines and sizes of what others say: real processes and sockets."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from python_on_whales import DockerClient, DockerException

from ppmkit.host.shell import START, Shell
from ppmkit.local import bounded_http
from ppmkit.local.bounded import LIMIT, Tail, bind_python_on_whales, exchange, has_line, run

MUCH = "head -c 100000000 /dev/zero | tr '\\0' A"


def test_a_command_is_run_with_its_input_and_both_outputs() -> None:
    done = run(["sh", "-c", "cat; echo err >&2; exit 3"], input="ü" * 200_000, timeout=30)

    assert (done.returncode, done.stdout, done.stderr) == (3, "ü" * 200_000, "err\n")


def test_a_command_that_says_too_much_is_ended_with_the_reason() -> None:
    for output in ("", " >&2"):
        done = run(["sh", "-c", f"{{ {MUCH}; }}{output}; sleep 60"], timeout=30)

        assert done.returncode == 141
        assert "more than 16 MiB" in done.stderr
        assert done.stdout == ""


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sleep", "60"], timeout=0.2)


def test_python_on_whales_reads_no_more_than_others(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{MUCH}\nsleep 60\n")
    docker.chmod(0o755)
    bind_python_on_whales()

    with pytest.raises(DockerException, match="more than 16 MiB"):
        DockerClient(client_call=[str(docker)]).compose.version()

    docker.write_text("#!/bin/sh\necho some; echo err >&2\n")
    assert DockerClient(client_call=[str(docker)]).compose.version() == "some"


def test_a_command_of_a_host_that_prints_too_much_is_ended() -> None:
    shell = Shell(["sh", "-c", START])

    with pytest.raises(Exception, match="more than 16 MiB"):
        shell.run(["sh", "-c", MUCH], b"", 30)

    shell.close()


def test_a_wait_that_is_cancelled_ends() -> None:
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE) as silent:
        assert silent.stdout is not None
        with pytest.raises(KeyboardInterrupt):
            exchange([silent.stdout], has_line, 30, cancelled=cancelled)
        silent.kill()


def test_a_tail_keeps_the_end_and_nobody_waits_to_write() -> None:
    with subprocess.Popen(["sh", "-c", f"{MUCH}; echo the end"], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        tail = Tail(writer.stdout)
        assert writer.wait(30) == 0
        text = tail.text()

    assert text.endswith("Athe end")
    assert len(text) < 100_000


@contextmanager
def answering(folder: Path, answer: Callable[[socket.socket], None]) -> Iterator[httpx.Client]:
    """Yield a client of a host that answers each request so."""
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    with suppress(OSError):
                        answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        with httpx.Client(transport=bounded_http.transport(path), base_url="http://host", timeout=5) as client:
            yield client
        listening.shutdown(socket.SHUT_RDWR)


def test_an_answer_by_http_has_a_size(tmp_path: Path) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10 * LIMIT >> 20):
            connection.sendall(b"A" * (1 << 20))

    with answering(tmp_path, endless) as client, pytest.raises(httpx.HTTPError, match="more than 16 MiB"):
        client.get("/")


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_by_http_has_a_deadline_however_it_trickles(
    tmp_path: Path, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "ANSWER_SECONDS", 0.5)
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(first)
        while not ended.wait(0.05):
            connection.sendall(b"x")

    began = time.monotonic()
    with answering(tmp_path, trickle) as client, pytest.raises(httpx.ReadTimeout):
        client.get("/")
    ended.set()
    assert time.monotonic() - began < 5


def test_an_honest_answer_arrives_whole_and_connections_are_kept(tmp_path: Path) -> None:
    body = b"x" * 1_000_000

    def honest(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            if not connection.recv(65536):
                return

    with answering(tmp_path, honest) as client:
        assert [client.get("/").content for _ in range(30)] == [body] * 30  # 30 MB in all
