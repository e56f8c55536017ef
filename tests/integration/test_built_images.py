"""Removing built images from the real engine: only our own, under a name that no checkout uses."""

from __future__ import annotations

import io
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from python_on_whales import DockerClient

from ppmkit.images.built import KEEP_LAST, prune
from ppmkit.local.engine import local_docker

TODAY = date(2026, 3, 31)
OLD = TODAY - timedelta(days=60)


@pytest.fixture(scope="module")
def docker() -> DockerClient:
    return local_docker()


@pytest.fixture
def repository(docker: DockerClient) -> Iterator[str]:
    """A repository of this test alone; what is in it goes afterwards."""
    name = f"ppm-test-{uuid.uuid4().hex[:12]}"
    yield name
    for tag in names(docker, name):
        docker.image.remove(tag)


def names(docker: DockerClient, repository: str) -> set[str]:
    return {tag for image in docker.image.list(f"{repository}/*") for tag in image.repo_tags if repository in tag}


def make(docker: DockerClient, tag: str, days: int) -> str:
    """Make an image that holds its own name, wanted last so many days before OLD; return its id."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("name")
        member.size = len(tag)
        tar.addfile(member, io.BytesIO(tag.encode()))
    load = [*docker.client_config.docker_cmd, "import", "-", tag]
    done = subprocess.run(load, input=archive.getvalue(), capture_output=True, check=True)
    docker.image.tag(tag, f"{tag}-{OLD - timedelta(days=days):%Y%m%d}")
    return done.stdout.decode().strip()


def test_old_images_go_but_for_the_newest_those_wanted_and_those_that_a_container_or_a_release_has(
    docker: DockerClient, repository: str
) -> None:
    made = {number: make(docker, f"{repository}/api:{number:012x}", number) for number in range(KEEP_LAST + 3)}
    *_newest, contained, released, obsolete, wanted = made  # what is wanted now is the newest
    container = docker.container.create(made[contained], ["/name"])
    docker.image.tag(made[released], f"{repository}-host/api:release")
    try:
        prune(docker, [f"{repository}/api:{wanted:012x}"], repository, TODAY)

        there = {image.id for image in docker.image.list()}
        assert {number for number, id in made.items() if id not in there} == {obsolete}
        found = names(docker, repository)
        assert f"{repository}/api:{wanted:012x}-20260331" in found
        assert {int(tag[-12:], 16) for tag in found if len(tag) == len(f"{repository}/api:") + 12} == set(made) - {
            released,
            obsolete,
        }
        assert docker.image.exists(f"{repository}-host/api:release")
    finally:
        container.remove()
        docker.image.remove(f"{repository}-host/api:release")


def test_what_is_wanted_every_day_has_one_day(docker: DockerClient, repository: str) -> None:
    reference = f"{repository}/api:{1:012x}"
    make(docker, reference, 0)
    for day in range(3):
        prune(docker, [reference], repository, TODAY + timedelta(days=day))

    assert names(docker, repository) == {reference, f"{reference}-20260402"}
