"""The base images that are made here: they hold what the Dockerfiles of the application rely on."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from python_on_whales import DockerClient

from ppmkit.config.environment import Bases, Images
from ppmkit.errors import BuildError
from ppmkit.images import bases as module
from ppmkit.images.bases import ensure_bases, recipes
from ppmkit.images.recipe import Recipe, build
from ppmkit.local.engine import ensure, local_docker
from tests.support.processes import join


@pytest.fixture(scope="module")
def docker() -> DockerClient:
    return local_docker()


@pytest.fixture(scope="module")
def bases(docker: DockerClient) -> dict[str, str]:
    return ensure_bases(Images(bases="local"), docker, print)


def output(docker: DockerClient, image: str, *command: str, **options: object) -> str:
    entrypoint, *arguments = command
    return str(docker.run(image, arguments, entrypoint=entrypoint, remove=True, **options))  # type: ignore[arg-type]


def test_python_makes_a_virtual_environment(docker: DockerClient, bases: dict[str, str]) -> None:
    script = "python --version && python3 -m venv /tmp/v && /tmp/v/bin/pip --version"

    assert output(docker, bases["python"], "sh", "-c", script).startswith("Python 3.13")


def test_node_runs_npm(docker: DockerClient, bases: dict[str, str]) -> None:
    found = output(docker, bases["node"], "sh", "-c", "node --version; npm --version; npx --version").split()

    assert found[0].startswith("v24.")
    assert len(found) == 3


def test_nginx_accepts_its_configuration(docker: DockerClient, bases: dict[str, str]) -> None:
    assert "1.26" in output(docker, bases["nginx"], "sh", "-c", "nginx -v 2>&1 && nginx -t -q")


def test_traefik_runs_as_nobody_in_particular_with_nothing_writable(
    docker: DockerClient, bases: dict[str, str]
) -> None:
    assert docker.image.inspect(bases["traefik"]).config.user == "10001:10001"

    said = output(docker, bases["traefik"], "traefik", "version", read_only=True, cap_drop=["ALL"])

    assert "3.7" in said


def test_traefik_knows_certificate_authorities_and_time_zones(docker: DockerClient, bases: dict[str, str]) -> None:
    output(docker, bases["traefik"], "ls", "/etc/ssl/certs/ca-certificates.crt", "/usr/share/zoneinfo/Europe/Berlin")


def test_no_image_carries_apts_lists_or_packages(docker: DockerClient, bases: dict[str, str]) -> None:
    script = "find /var/lib/apt/lists /var/cache/apt -type f ! -name lock | wc -l"

    assert {name: output(docker, image, "sh", "-c", script).strip() for name, image in bases.items()} == dict.fromkeys(
        bases, "0"
    )


def test_a_second_time_builds_nothing(docker: DockerClient, bases: dict[str, str]) -> None:
    said: list[str] = []

    assert ensure_bases(Images(bases="local"), docker, said.append) == bases
    assert said == []


def test_a_changed_recipe_or_base_has_another_reference(tmp_path: Path) -> None:
    recipe = recipes("debian:one")["traefik"]
    changed = tmp_path / "traefik.Dockerfile"
    changed.write_text(recipe.dockerfile.read_text() + "LABEL changed=1\n")

    references = {
        recipe.reference,
        replace(recipe, dockerfile=changed).reference,
        recipes("debian:other")["traefik"].reference,
    }

    assert len(references) == 3


def test_a_recipe_that_fails_shows_the_last_lines_of_the_build(
    docker: DockerClient, bases: dict[str, str], tmp_path: Path
) -> None:
    dockerfile = tmp_path / "broken.Dockerfile"
    dockerfile.write_text(f"FROM {bases['debian']}\nRUN echo the reason is here && exit 7\n")

    with pytest.raises(BuildError) as raised:
        build(docker, Recipe(tag="ppm-test/broken", dockerfile=dockerfile), print)

    assert "the reason is here" in (raised.value.seen or "")
    assert "broken.Dockerfile" in (raised.value.next or "")


def test_an_image_whose_files_changed_while_it_was_built_is_none(
    docker: DockerClient, bases: dict[str, str], tmp_path: Path
) -> None:
    dockerfile, code = tmp_path / "Dockerfile", tmp_path / "code"
    dockerfile.write_text(f"FROM {bases['debian']}\nCOPY code /\n")
    code.write_text(str(time.time_ns()))
    recipe = Recipe("ppm-test/changing", dockerfile, context=tmp_path)
    reference = recipe.reference

    def edit(_: str) -> None:
        code.write_text("edited")

    with pytest.raises(BuildError, match="changed during the build"):
        build(docker, recipe, print, edit)

    assert not docker.image.exists(reference)


class _Silent(http.server.BaseHTTPRequestHandler):
    """A registry that takes the request and never answers."""

    released = threading.Event()

    def do_GET(self) -> None:
        self.released.wait(30)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def silent_registry() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    _Silent.released.set()
    server.shutdown()
    join(thread)
    server.server_close()


def test_a_registry_that_stays_silent_is_given_up_in_time(docker: DockerClient, silent_registry: str) -> None:
    said = module._pull_first(tuple(docker.client_config.docker_cmd), f"{silent_registry}/never:1")

    assert said.startswith("no answer within 5 s")


def test_a_registry_that_is_demanded_and_absent_is_an_error(docker: DockerClient) -> None:
    nowhere = "127.0.0.1:9/absent:1"
    images = Images(bases="registry", registry_bases=Bases(python=nowhere))

    with pytest.raises(BuildError) as raised:
        ensure_bases(images, docker, print)

    assert nowhere in raised.value.message
    assert "images.bases: local" in (raised.value.next or "")


def test_a_machine_with_docker_is_left_as_it_is(docker: DockerClient) -> None:  # noqa: ARG001
    said: list[str] = []

    ensure(said.append)

    assert said == []
