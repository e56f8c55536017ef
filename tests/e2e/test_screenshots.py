"""The pictures of docs/application.md, made of a site with the sample projects: `make screenshots`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.test_page import log_in
from tests.support.site import Site

FOLDER = os.environ.get("PPM_SCREENSHOTS")


@pytest.fixture
def samples(live: Site) -> Iterator[list[str]]:
    """Sample projects, on a site that may have them, with a backup and a restore that was proven."""
    live.configure(kind="lab")
    live.ppmctl("deploy")
    try:
        made: list[str] = json.loads(live.ppmctl("exec worker", "--", "ppm", "samples").stdout)["made"]
        yield made
    finally:
        live.configure()
        live.ppmctl("deploy")


def shoot(page: Page, name: str, scheme: Literal["light", "dark"] = "light", height: int = 760) -> None:
    page.set_viewport_size({"width": 1100, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.screenshot(path=Path(str(FOLDER)) / f"{name}.png", animations="disabled")


@pytest.mark.skipif(FOLDER is None, reason="only for the docs: make screenshots")
def test_the_pages_have_their_pictures_taken(page: Page, live: Site, samples: list[str]) -> None:
    live.ppmctl("backup create")
    live.ppmctl("backup drill")
    page.reload()  # it was opened before the samples' release
    log_in(page, live.user)
    for name in samples:
        row = page.get_by_role("row").filter(has_text=name)
        expect(row.get_by_role("cell").last).to_contain_text("ago", timeout=60_000)
    shoot(page, "projects")
    page.get_by_role("link", name=samples[0]).click()
    expect(page.get_by_role("article", name=samples[0])).to_be_visible()
    shoot(page, "project", "dark", 900)
    page.get_by_role("link", name="System").click()
    expect(page.get_by_text("(L4)")).to_be_visible(timeout=60_000)  # the steward tells the page of the drill
    shoot(page, "system", height=1000)
