"""The images, how a host runs them, and clients that notice what is lost."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
from python_on_whales import Container, DockerClient

from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_bases
from ppmkit.images.recipe import Recipe, build
from ppmkit.local.engine import local_docker
from tests.support.waiting import eventually

APP = Path(__file__).parents[2] / "app"
UI = APP / "ui"
RELEASE = "0a1b2c3d4e5f"
DRAIN_SECONDS = 15
HARDENED = {
    "init": True,
    "read_only": True,
    "user": "10001:10001",
    "cap_drop": ["ALL"],
    "security_options": ["no-new-privileges"],
    "tmpfs": ["/tmp"],
    "memory": "256m",
    "cpus": 1,
    "pids_limit": 256,
}
HARDENED_FRONTEND = HARDENED | {"memory": "64m", "pids_limit": 64}
Run = Callable[..., Container]


def build_api(docker: DockerClient, tag: str, context: Path) -> str:
    """Build the image of api and worker from a folder; return its id."""
    base = ensure_bases(Images(bases="local"), docker, print)["python"]
    return _build(docker, Recipe(tag, context / "Dockerfile", {"PYTHON_IMAGE": base}, context))


def build_frontend(docker: DockerClient, tag: str, context: Path, **arguments: str) -> str:
    """Build the frontend from a folder; return the image's id."""
    bases = ensure_bases(Images(bases="local"), docker, print)
    arguments |= {"NODE_IMAGE": bases["node"], "NGINX_IMAGE": bases["nginx"]}
    return _build(docker, Recipe(tag, context / "Dockerfile", arguments, context))


def _build(docker: DockerClient, recipe: Recipe) -> str:
    return str(docker.image.inspect(build(docker, recipe, print)).id)


def address(container: Container) -> str:
    """Return the container's own address: through a published port, Docker's proxy would buffer."""
    return str(container.network_settings.networks["bridge"].ip_address)


def client(container: Container, token: str = "") -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=f"http://{address(container)}:8000", headers=headers, trust_env=False, timeout=30)


def until(condition: Callable[[], object], container: Container, seconds: float = 20) -> None:
    assert eventually(condition, seconds), f"waited {seconds} s in vain; the container said: {container.logs()}"


def ready(container: Container) -> Container:
    """Wait until the container may get requests; return it."""

    def answers() -> bool:
        with client(container) as http:
            try:
                return http.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

    container.reload()
    until(answers, container)
    return container


def healthy(frontend: Container) -> bool:
    """Return whether a frontend answers."""
    try:
        return httpx.get(f"http://{address(frontend)}:8080/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def ended(container: Container) -> tuple[int, str]:
    """Wait for a container's command; return its exit code and what it printed."""
    until(lambda: container.state.status == "exited", container)
    return exit_code(container), container.logs()


def exit_code(container: Container) -> int:
    container.reload()
    return int(container.state.exit_code)


class Writers:
    """Clients that add projects over kept-alive connections, one after another, until nobody listens."""

    def __init__(self, container: Container, token: str, clients: int = 10) -> None:
        self.acknowledged: list[str] = []
        self.lost: list[str] = []
        self._pool = ThreadPoolExecutor(clients)
        self._runs = [self._pool.submit(self._write, container, token) for _ in range(clients)]

    def join(self) -> None:
        """Wait until all of them were refused."""
        for run in self._runs:
            run.result(60)
        self._pool.shutdown()  # each has ended

    def _write(self, container: Container, token: str) -> None:
        with client(container, token) as http:
            while True:
                name = uuid.uuid4().hex
                try:
                    answer = http.post("/api/projects", json={"name": name, "url": f"https://example.org/{name}"})
                except httpx.ConnectError:  # nothing was sent
                    return
                except httpx.TransportError as error:
                    self.lost.append(f"{name}: {error!r}")
                    return
                if answer.status_code == 201:
                    self.acknowledged.append(name)
                else:
                    self.lost.append(f"{name}: {answer.status_code} {answer.text}")


class SlowPost:
    """A request whose head has arrived and whose body has not."""

    def __init__(self, container: Container, token: str) -> None:
        self.name = uuid.uuid4().hex
        self._body = json.dumps({"name": self.name, "url": f"https://example.org/{self.name}"}).encode()
        head = (
            "POST /api/projects HTTP/1.1\r\nHost: ppm\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(self._body)}\r\n\r\n"
        )
        self._socket = socket.create_connection((address(container), 8000), 30)
        self._socket.sendall(head.encode() + self._body[:10])

    def finish(self) -> str:
        """Send the rest; return the head of the answer."""
        with self._socket:
            self._socket.sendall(self._body[10:])
            received = b""
            while block := self._socket.recv(4096):
                received += block
        return received.partition(b"\r\n\r\n")[0].decode()


@pytest.fixture(scope="session")
def docker() -> DockerClient:
    return local_docker()


@pytest.fixture(scope="session")
def api_image(docker: DockerClient) -> str:
    """The id of the image that api and worker run."""
    return build_api(docker, "ppm-test/api:test", APP)


@pytest.fixture(scope="session")
def frontend_image(docker: DockerClient) -> str:
    """The id of the image that serves the page."""
    return build_frontend(docker, "ppm-test/frontend:test", UI)


@pytest.fixture(scope="session")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "session_secret"
    file.write_text(f"{uuid.uuid4().hex}\n")
    file.chmod(0o444)
    return file


@pytest.fixture
def volume(docker: DockerClient) -> Iterator[str]:
    volume = docker.volume.create(f"ppm-test-{uuid.uuid4().hex[:8]}")
    yield volume.name
    docker.volume.remove(volume)


@pytest.fixture
def run(docker: DockerClient, api_image: str, secret: Path, volume: str) -> Iterator[Run]:
    """Start hardened containers on one volume; they go at the end."""
    started = []

    def start(
        *command: str,
        drain_seconds: int = DRAIN_SECONDS,
        more: Mapping[str, str] = MappingProxyType({}),
        mounts: Iterable[tuple[str, ...]] = (),
        **options: object,
    ) -> Container:
        mounts = [(volume, "/data"), (str(secret), "/run/secrets/session_secret", "ro"), *mounts]
        envs = {"PPM_RELEASE": RELEASE, "DRAIN_SECONDS": str(drain_seconds), "SCAN_PRIVATE_ADDRESSES": "true", **more}
        container = docker.run(api_image, command, detach=True, envs=envs, volumes=mounts, **HARDENED, **options)
        started.append(container)
        return container

    yield start
    docker.remove(started, force=True)
