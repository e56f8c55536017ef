"""A browser: Debian's Chromium in a container, driven by Playwright over its debugging port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_debian
from ppmkit.images.recipe import Recipe, build
from ppmkit.local.engine import local_docker
from tests.support.site import Site
from tests.support.waiting import eventually

DOCKERFILE = Path(__file__).parent / "Dockerfile"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")  # Playwright's loop must be gone before another test runs one
def browser() -> Iterator[Browser]:
    docker = local_docker()
    debian = ensure_debian(Images(), docker, print)
    image = build(docker, Recipe("ppm-test/browser", DOCKERFILE, {"DEBIAN_IMAGE": debian}), print)
    port = free_port()
    flags = [f"--remote-debugging-port={port}", "about:blank"]
    chromium = docker.run(image, flags, detach=True, networks=["host"], cap_drop=["ALL"], init=True, memory="1g")
    try:
        address = f"http://127.0.0.1:{port}"
        assert eventually(lambda: answers(f"{address}/json/version"), 30), docker.logs(chromium)
        with sync_playwright() as playwright:
            yield playwright.chromium.connect_over_cdp(address)
    finally:
        docker.remove(chromium, force=True, volumes=True)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def page(browser: Browser, live: Site, tmp_path: Path) -> Iterator[Page]:
    """The page of the site, in a session of its own; what the console says against it fails the test."""
    context = browser.new_context(base_url=live.url)
    context.set_default_timeout(10_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto("/")
    yield page
    page.screenshot(path=tmp_path / "last.png")
    context.close()
    assert complaints == []
