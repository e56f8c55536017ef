"""The script that puts another proxy in the place of the one that runs, on a real engine: one serves in the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from python_on_whales import Container, DockerClient

from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_bases
from ppmkit.paths import KIT
from tests.support.waiting import eventually

OPTIONS = (
    "--entryPoints.web.address=:8000",
    "--providers.file.directory=/etc/traefik/dynamic",
    "--ping.entryPoint=web",
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Place:
    """What the script works on: two containers that want the same port, and what they read."""

    docker: DockerClient
    image: str
    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        for name, text in (("traefik", "before"), ("swap/before", "before"), ("swap/after", "after")):
            (self.folder / name / "dynamic").mkdir(parents=True)
            (self.folder / name / "settings.json").write_text(text)
            (self.folder / name / "dynamic" / "routes.yaml").write_text(f"# {text}\nhttp: {{}}\n")
        (self.folder / "traefik" / "dynamic" / "certificates.yaml").write_text("tls: {}\n")
        shutil.copy(self.folder / "traefik" / "dynamic" / "certificates.yaml", self.folder / "swap/before/dynamic")
        (self.folder / "swap" / "before.yaml").write_text("http: {}\n")
        shutil.copy(KIT / "ppmkit" / "upgrade" / "swap.sh", self.folder / "swap")
        self.old = self.create()
        self.old.start()
        self.new = self.create()

    def create(self, *options: str) -> Container:
        """Return a proxy that does not run yet."""
        return self.docker.container.create(
            self.image,
            [*OPTIONS, *options],
            publish=[(f"127.0.0.1:{self.port}", 8000)],
            volumes=[(self.folder / "traefik" / "dynamic", "/etc/traefik/dynamic", "ro")],
            restart="unless-stopped",
        )

    def begin(self, *how: str, patience: int = 300, silence: str = "back") -> subprocess.Popen[bytes]:
        """Start the script."""
        plan = {
            "traefik": self.folder / "traefik",
            "aside": "before.yaml",
            "old": self.old.id,
            "new": self.new.id,
            "old_policy": "unless-stopped",
            "new_policy": "unless-stopped",
            "patience": patience,
            "silence": silence,
        }
        swap = self.folder / "swap"
        (swap / "plan").write_text("".join(f"{key}='{value}'\n" for key, value in plan.items()))
        return subprocess.Popen(["sh", str(swap / "swap.sh"), *how], start_new_session=True)

    def say(self, name: str) -> None:
        """Tell the script what is to become of it."""
        (self.folder / "swap" / name).write_text("somebody says so\n")

    def await_started(self) -> None:
        assert eventually((self.folder / "swap" / "started").exists, 60)

    def ends(self, script: subprocess.Popen[bytes]) -> str:
        """Wait for the script; return its outcome."""
        assert script.wait(120) == 0
        return (self.folder / "swap" / "outcome").read_text().strip()

    def shows(self, which: str) -> None:
        """Check that one of the proxies runs for good, the other one does not, and the files are those of the first."""
        runs, rests = (self.new, self.old) if which == "after" else (self.old, self.new)
        for container in (runs, rests):
            container.reload()
        assert (runs.state.running, rests.state.running) == (True, False)
        policies = [container.host_config.restart_policy.name for container in (runs, rests)]
        assert policies == ["unless-stopped", "no"]
        files = {path.name for path in (self.folder / "traefik" / "dynamic").iterdir()}
        assert files == {"routes.yaml", *(["certificates.yaml"] if which == "before" else [])}
        assert which in (self.folder / "traefik" / "dynamic" / "routes.yaml").read_text()
        assert (self.folder / "traefik" / "settings.json").read_text() == which
        assert eventually(self.answers)

    def answers(self) -> bool:
        """Return whether a proxy answers now. One that has just been started may run and not listen yet."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/ping", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def place(docker: DockerClient, tmp_path: Path) -> Iterator[Place]:
    tmp_path.chmod(0o755)
    place = Place(docker, ensure_bases(Images(bases="local"), docker, print)["traefik"], tmp_path)
    yield place
    docker.remove([place.old, place.new], force=True)


@pytest.mark.parametrize(("said", "which"), [("keep", "after"), ("back", "before")])
def test_who_sees_whether_users_are_served_decides(place: Place, said: str, which: str) -> None:
    script = place.begin()
    place.await_started()
    assert (place.folder / "traefik" / "dynamic" / "before.yaml").exists(), "a reboot now needs the routes of before"
    place.say(said)

    assert place.ends(script) == ("done" if said == "keep" else "undone: somebody says so")
    place.shows(which)


@pytest.mark.parametrize(("silence", "which"), [("back", "before"), ("keep", "after")])
def test_when_nobody_says_anything_it_ends_by_itself(place: Place, silence: str, which: str) -> None:
    place.ends(place.begin(patience=5, silence=silence))

    place.shows(which)


def test_a_proxy_that_ends_by_itself_gives_way_at_once(place: Place) -> None:
    place.docker.remove(place.new)
    place.new = place.create("--no.such.option=1")

    assert place.ends(place.begin()) == "undone: the new proxy ended by itself"
    place.shows("before")


def test_a_port_that_another_program_has_is_named_and_the_old_proxy_serves(place: Place) -> None:
    place.docker.remove(place.new)
    own, place.port = place.port, free_port()
    place.new, place.port = place.create(), own
    taken = place.new.host_config.port_bindings["8000/tcp"][0].host_port
    with socket.create_server(("127.0.0.1", int(taken))):
        assert taken in place.ends(place.begin())
    place.shows("before")


@pytest.mark.parametrize(("said", "which"), [(None, "before"), ("keep", "after")])
def test_a_script_that_was_cut_short_is_ended_by_running_it_again(place: Place, said: str | None, which: str) -> None:
    script = place.begin()
    place.await_started()
    os.killpg(script.pid, signal.SIGKILL)
    script.wait()
    if said:
        place.say(said)

    place.ends(place.begin("again"))

    place.shows(which)
