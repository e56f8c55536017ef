"""The frontend's image as a host runs it: no root, nothing writable but /tmp, drained before it ends."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from python_on_whales import Container, DockerClient, DockerException

from tests.integration.conftest import HARDENED_FRONTEND, RELEASE, UI, address, build_frontend, healthy, until
from tests.support.page import assets
from tests.support.processes import threads

BIG = 64 << 20
FIRST_PAINT = 200_000
"""Bytes of scripts, as they travel, that a browser needs before it shows anything."""
Run = Callable[..., Container]


@pytest.fixture(scope="module")
def run(docker: DockerClient, frontend_image: str) -> Iterator[Run]:
    """Start hardened containers that answer; they go at the end."""
    started = []

    def start(image: str = frontend_image, **options: object) -> Container:
        container = docker.run(image, detach=True, envs={"PPM_RELEASE": RELEASE}, **HARDENED_FRONTEND, **options)
        started.append(container)
        until(lambda: healthy(container), container)
        return container

    yield start
    docker.remove(started, force=True, volumes=True)


@pytest.fixture(scope="module")
def container(run: Run) -> Container:
    return run()


@pytest.fixture(scope="module")
def http(container: Container) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address(container)}:8080", trust_env=False) as client:
        yield client


def test_it_runs_as_nobody_in_particular_even_when_not_told_to(docker: DockerClient, frontend_image: str) -> None:
    assert docker.image.inspect(frontend_image).config.user == "10001:10001"


def test_the_health_check_of_the_stack_passes(container: Container) -> None:
    command = ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8080/healthz"]

    assert container.execute(command) == ""


def test_health_is_a_word(http: httpx.Client) -> None:
    answer = http.get("/healthz")

    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/some/page", 200),
        ("GET", "/assets/missing.js", 404),
        ("GET", "/assets/", 404),
        ("GET", "/%00", 400),
        ("POST", "/", 405),
        ("GET", "/" + "x" * 40_000, 414),
    ],
)
def test_every_answer_names_the_release_and_forbids_to_guess(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)

    assert answer.status_code == status
    assert answer.headers["X-PPM-Release"] == RELEASE
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "nginx"


def test_every_page_is_the_one_page_and_is_asked_for_anew(http: httpx.Client) -> None:
    page = http.get("/")

    assert '<div id="root">' in page.text
    for path in ("/projects/7", "/index.html", "/a.b/c"):
        answer = http.get(path)
        assert answer.text == page.text
        assert answer.headers["Cache-Control"] == "no-cache"


def test_the_page_of_the_release_before_is_never_said_to_be_still_good(http: httpx.Client) -> None:
    page = http.get("/")
    assert not {"etag", "last-modified"} & set(page.headers)

    asked = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": f'"0-{len(page.content):x}"'}

    assert http.get("/", headers=asked).status_code == 200


def test_the_page_may_load_and_call_its_own_origin_only(http: httpx.Client) -> None:
    policy = http.get("/").headers["Content-Security-Policy"].split("; ")

    assert {"default-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)


def test_assets_have_their_content_in_their_name_and_are_kept_for_ever(http: httpx.Client) -> None:
    found = assets(http.get("/").text)
    assert {Path(path).suffix for path in found} == {".js", ".css"}

    for path in found:
        answer = http.get(path)
        assert re.search(r"-[\w-]{8}\.\w+$", path)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["X-PPM-Release"] == RELEASE
        assert "html" not in answer.headers["Content-Type"]


def test_the_scripts_of_the_first_paint_are_small(http: httpx.Client) -> None:
    page = http.get("/").text
    scripts = re.findall(r'<script type="module"[^>]* src="([^"]+)"', page)
    preloaded = re.findall(r'<link rel="modulepreload"[^>]* href="([^"]+)"', page)
    assert len(scripts) == 1

    answers = [http.get(path) for path in scripts + preloaded]

    assert [answer.headers["Content-Encoding"] for answer in answers] == ["gzip"] * len(answers)
    assert sum(answer.num_bytes_downloaded for answer in answers) <= FIRST_PAINT


def test_a_missing_asset_is_missing_and_not_the_page(http: httpx.Client) -> None:
    answer = http.get("/assets/index-00000000.js")

    assert answer.status_code == 404
    assert "root" not in answer.text
    assert answer.headers["Cache-Control"] == "no-cache"


def test_a_change_that_does_not_reach_the_page_gives_the_same_image(
    docker: DockerClient, frontend_image: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(UI, tmp_path / "ui", ignore=shutil.ignore_patterns("node_modules", "dist")))
    with (copy / "src" / "main.tsx").open("a") as source:
        source.write("// It is built again, with the same result.\n")

    assert build_frontend(docker, "ppm-test/frontend:again", copy) == frontend_image


def test_an_api_elsewhere_is_an_origin_that_the_page_may_call(docker: DockerClient, run: Run) -> None:
    image = build_frontend(docker, "ppm-test/frontend:elsewhere", UI, VITE_API_BASE_URL="https://api.ppm.test:8443/api")
    page = httpx.get(f"http://{address(run(image=image))}:8080/", trust_env=False)

    assert "connect-src 'self' https://api.ppm.test:8443;" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("release", ["", "two words", "a;b", "a/b", "a\nb", "ä"])
def test_a_release_that_is_not_a_plain_word_is_refused(
    docker: DockerClient, frontend_image: str, release: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DockerException) as refused:
        docker.run(frontend_image, envs={"PPM_RELEASE": release}, remove=True, **HARDENED_FRONTEND)

    assert refused.value.return_code == 64
    assert "PPM_RELEASE is not a release id" in capfd.readouterr().err


def test_a_download_in_flight_outlives_docker_stop(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(BIG))
    serving = run(volumes=[(str(big), "/srv/ui/assets/big.bin", "ro")])
    with socket.create_connection((address(serving), 8080)) as client, threads() as pool:
        client.sendall(b"GET /assets/big.bin HTTP/1.1\r\nHost: ppm\r\n\r\n")
        head = client.recv(1024)
        assert b" 200 OK\r\n" in head

        stopping = pool.submit(serving.stop, time=60)
        until(lambda: not healthy(serving), serving)
        assert serving.state.running

        received = len(head)
        while block := client.recv(1 << 20):
            received += len(block)
        stopping.result(60)

    assert received > BIG
    serving.reload()
    assert serving.state.exit_code == 0
