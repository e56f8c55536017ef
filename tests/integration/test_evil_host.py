"""ppmctl against a real sshd whose host says nothing, never ends, or tries to command the terminal."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from python_on_whales import DockerClient
from ruamel.yaml import YAML

from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_debian
from ppmkit.images.recipe import Recipe, build
from ppmkit.paths import KIT
from tests.integration.conftest import address
from tests.integration.test_ssh import DOCKERFILE, make_key
from tests.support.processes import SECONDS, threads
from tests.support.waiting import eventually

SCRIPT = Path(__file__).parent / "ssh" / "evil.sh"
PATIENCE = 2
"""ssh.connect_timeout of these tests, in seconds."""


@dataclass(frozen=True)
class Evil:
    """The environment `evil`, whose host does what its mode says."""

    folder: Path
    script: Path

    def turn(self, mode: str) -> None:
        (self.script / "mode").write_text(mode)

    def start(self, *command: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start ppmctl, which hears Ctrl-C as if at a terminal."""
        return subprocess.Popen(
            [sys.executable, str(KIT / "ppmctl.py"), *command, "-e", "evil"],
            env={**os.environ, "PPMCTL_INVENTORY": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *command: str) -> tuple[int, str, float]:
        """Run ppmctl; return its exit code, what it said, and the most memory that it had, in MiB."""
        reading, writing = os.pipe()
        process = self.start(*command, output=writing)
        os.close(writing)
        with threads(1) as pool, os.fdopen(reading, "rb") as said:
            most = pool.submit(_most_memory, process.pid)
            text = said.read().decode()
        return process.wait(SECONDS), text, most.result()


def _most_memory(pid: int) -> float:
    """Wait until a process has ended; return the most memory that it had, in MiB.

    What `wait` tells of it includes what the process that started it had.
    """
    most = 0
    with suppress(FileNotFoundError):
        while found := re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
            most = int(found[1])
            time.sleep(0.02)
    return most / 1024


@pytest.fixture(scope="module")
def evil(docker: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evil]:
    folder, keys, script = (tmp_path_factory.mktemp(name) for name in ("evil", "keys", "script"))
    for name in ("host", "deploy"):
        make_key(folder / name)
    for name in ("host", "deploy.pub"):
        shutil.copy(folder / name, keys)
        (keys / name).chmod(0o644)  # another user's
    shutil.copy(SCRIPT, script)
    (script / "mode").write_text("silent")
    for shared in (keys, script, *keys.parents):
        if shared.is_relative_to(tmp_path_factory.getbasetemp()):
            shared.chmod(0o755)
    image = build(
        docker,
        Recipe("ppm-test/sshd", DOCKERFILE, {"DEBIAN_IMAGE": ensure_debian(Images(bases="local"), docker, print)}),
        print,
    )
    container = docker.run(
        image,
        ["-o", "ForceCommand=/evil/evil.sh"],
        detach=True,
        cap_drop=["ALL"],
        init=True,
        memory="128m",
        volumes=[(str(keys), "/keys", "ro"), (str(script), "/evil", "ro")],
    )
    try:
        assert eventually(lambda: "port 2222" in container.logs()), container.logs()
        container.reload()
        there = address(container)
        (folder / "known_hosts").write_text(f"[{there}]:2222 {(folder / 'host.pub').read_text()}")
        _configure(folder, there)
        yield Evil(folder, script)
    finally:
        docker.remove(container, force=True, volumes=True)


def _configure(folder: Path, there: str) -> None:
    values = {
        "kind": "hosts",
        "url": "http://evil.test",
        "hosts": [{"name": "evil", "address": there, "port": 2222}],
        "ssh": {
            "user": "git",
            "provision_user": "git",
            "identity_file": str(folder / "deploy"),
            "known_hosts_file": str(folder / "known_hosts"),
            "connect_timeout": f"{PATIENCE}s",
        },
    }
    with (folder / "evil.yaml").open("w") as out:
        YAML().dump(values, out)


def test_a_host_that_lets_us_in_and_says_nothing_is_given_up(evil: Evil) -> None:
    evil.turn("silent")
    began = time.monotonic()

    status, said, _ = evil.run("status")

    assert status == 3
    assert "did not start a shell within 12 s" in said
    assert time.monotonic() - began < 40


@pytest.mark.parametrize(
    ("command", "mode", "number"),
    [
        ("status", "silent", signal.SIGTERM),
        ("releases", "stalls", signal.SIGINT),
        pytest.param("doctor", "stalls", signal.SIGINT, marks=pytest.mark.full),
        pytest.param("status", "stalls", signal.SIGINT, marks=pytest.mark.full),
        pytest.param("logs", "silent", signal.SIGTERM, marks=pytest.mark.full),
    ],
)
def test_the_first_signal_ends_the_wait_for_a_host(evil: Evil, command: str, mode: str, number: signal.Signals) -> None:
    evil.turn(mode)
    process = evil.start(command)
    ours = ["pgrep", "-f", f"{evil.folder}.*ready"]
    assert eventually(lambda: subprocess.run(ours, capture_output=True, check=False).stdout, 30)

    process.send_signal(number)
    began = time.monotonic()

    assert process.wait(60) == 130
    assert time.monotonic() - began < 5
    assert eventually(lambda: not subprocess.run(ours, capture_output=True, check=False).stdout, 5)


@pytest.mark.parametrize(
    ("mode", "command", "words"),
    [("flood", "status", "no SSH connection"), ("answers", "releases", "more than 16 MiB")],
)
def test_what_a_host_says_without_end_is_not_kept(evil: Evil, mode: str, command: str, words: str) -> None:
    evil.turn(mode)

    status, said, memory = evil.run(command)

    assert status in (1, 3)
    assert words in said
    assert memory < 200


def test_a_host_commands_no_terminal_and_writes_no_markup(evil: Evil) -> None:
    evil.turn("escapes")

    for command in ("doctor", "releases"):
        primary, secondary = pty.openpty()
        process = evil.start(command, output=secondary)
        os.close(secondary)
        said = _all(primary)
        process.wait(60)

        assert b"\x1b]" not in said, command
        assert b"\x1b[8m" not in said
        assert b"\xc2\x9b" not in said
        assert b"\xe2\x80\xae" not in said
        assert b"PWNED" in said


def _all(terminal: int) -> bytes:
    said = bytearray()
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        try:
            while block := screen.read(1 << 16):
                said += block
        except OSError:  # how a terminal says that nobody writes to it any more
            pass
    return bytes(said)
