"""What a person does in the browser, against a site that ppmctl deployed."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.site import Site
from tests.support.waiting import eventually

URL = "http://localhost:9/e2e/project.git"


@pytest.fixture(scope="session")
def token(live: Site) -> str:
    return live.user


def log_in(page: Page, token: str) -> None:
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Use token").click()


def test_the_page_shows_the_release_to_all_and_with_a_token_that_the_worker_lives(
    page: Page, live: Site, token: str
) -> None:
    expect(page.locator("header .release")).to_have_text(live.serving())
    expect(page.locator("header [role=status]")).to_have_text("live")
    page.get_by_role("link", name="System").click()
    expect(page.get_by_text("Log in or enter an API token to see the rest")).to_be_visible()
    log_in(page, token)
    expect(page.get_by_text(re.compile("alive", re.IGNORECASE)).first).to_be_visible()


def test_without_a_token_the_page_says_how_to_get_one(page: Page) -> None:
    expect(page.get_by_text("ppm token create").first).to_be_visible()


def test_a_wrong_token_is_refused_in_words(page: Page) -> None:
    log_in(page, "ppm_nonsense")

    expect(page.get_by_text(re.compile("unknown, revoked or expired")).first).to_be_visible()


def test_a_project_is_added_scanned_changed_and_deleted(page: Page, token: str) -> None:
    log_in(page, token)
    page.get_by_role("button", name="Add a project").click()
    page.get_by_label("Repository").fill(URL)
    page.get_by_label("Name (optional)").fill("e2e project")
    page.get_by_label("Tags (optional)").fill("e2e")
    page.get_by_role("button", name="Add project").click()
    page.get_by_label("Search").fill("e2e project")

    row = page.get_by_role("row").filter(has_text="e2e project")
    expect(row).to_be_visible()
    # The worker has been there: that address is one of the own network, and the page says so by itself.
    expect(row).to_contain_text("is not a public address", timeout=60_000)

    row.get_by_role("link", name="e2e project").click()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Name", exact=True).fill("e2e renamed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("article", name="e2e renamed")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Yes, delete").click()
    expect(page.get_by_role("heading", name="Projects")).to_be_visible()
    page.get_by_label("Search").fill("e2e renamed")  # a part of it may be in the names that a load has made
    expect(page.get_by_text("No matching projects.")).to_be_visible()


def test_the_api_is_described_by_a_page_that_loads_nothing_from_elsewhere(page: Page, live: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto("/api/docs")

    page.locator("#operations-projects-projects_create").get_by_role("button").first.click()
    expect(page.get_by_text("Add a project. The worker will scan it soon.")).to_be_visible()
    assert all(url.startswith((live.url, "data:")) for url in asked), asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_keeps_anyone_out(page: Page, token: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    log_in(page, token)
    page.get_by_role("button", name="Add a project").click()
    expect(page.get_by_label("Repository")).to_be_visible()
    accessible(page)
    page.keyboard.press("Escape")
    for name in ("Projects", "Job runs", "System"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", name=name, level=2)).to_be_visible()
        accessible(page)


def accessible(page: Page) -> None:
    """Check that axe has nothing serious against what is shown (WCAG 2.1 AA)."""
    # What fades has too little contrast meanwhile.
    assert eventually(lambda: page.evaluate("document.getAnimations().length") == 0)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response
    assert [v["help"] for v in found["violations"] if v["impact"] in ("serious", "critical")] == []


def test_an_upgrade_is_watched_on_the_system_page_without_a_failed_request(page: Page, live: Site, token: str) -> None:
    log_in(page, token)
    page.get_by_role("link", name="System").click()
    before, asked, failed = live.serving(), [], []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    # The page itself closes the stream that it opened before the login; one that breaks ends by another name.
    page.on(
        "requestfailed",
        lambda request: (
            failed.append(f"{request.url}: {request.failure}")
            if "ERR_ABORTED" not in str(request.failure) or not request.url.endswith("/api/events")
            else None
        ),
    )
    page.on(
        "response", lambda answer: failed.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None
    )
    live.configure(app={"scan_interval_minutes": 45})
    live.ppmctl("deploy")

    try:
        expect(page.get_by_text("ppm was upgraded to release")).to_be_visible()
        release = live.serving()
        expect(page.locator("header .release")).to_have_text(release)
        expect(page.locator("header [role=status]")).to_have_text("live")
        deploys = page.get_by_role("table").filter(has_text="Color")
        expect(deploys.get_by_role("row").nth(1)).to_contain_text(release)
        assert release != before
        assert "/api/events" in asked  # the stream of the old release has ended, and the browser has opened another
        assert failed == []
        page.get_by_role("button", name="Reload page").click()
        expect(page.get_by_text("ppm was upgraded")).to_have_count(0)
    finally:
        live.configure()
        live.ppmctl("deploy")
