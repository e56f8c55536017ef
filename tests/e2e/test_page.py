"""What a person does in the browser, against a site that ppmctl deployed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.site import Site

URL = "http://localhost:9/e2e/project.git"


@pytest.fixture(scope="session")
def token(live: Site) -> str:
    return live.token("browser")


def log_in(page: Page, token: str) -> None:
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Use token").click()


def test_the_page_shows_the_release_and_that_the_worker_lives(page: Page, live: Site) -> None:
    expect(page.locator("header .release")).to_have_text(live.serving())
    expect(page.locator("header [role=status]")).to_have_text("live")
    expect(page.get_by_text(re.compile("alive", re.IGNORECASE)).first).to_be_visible()


def test_without_a_token_the_page_says_how_to_get_one(page: Page) -> None:
    expect(page.get_by_text("ppm token create").first).to_be_visible()


def test_a_wrong_token_is_refused_in_words(page: Page) -> None:
    log_in(page, "ppm_nonsense")

    expect(page.get_by_text(re.compile("unknown or revoked")).first).to_be_visible()


def test_a_project_is_added_scanned_and_deleted(page: Page, token: str) -> None:
    log_in(page, token)
    page.get_by_label("Repository").fill(URL)
    page.get_by_label("Name (optional)").fill("e2e project")
    page.get_by_role("button", name="Add project").click()

    row = page.get_by_role("row").filter(has_text="e2e project")
    expect(row).to_be_visible()
    # The worker has been there: nothing listens at that address, and the page says so by itself.
    expect(row).to_contain_text(re.compile("refused|unable to access|connect", re.IGNORECASE), timeout=60_000)

    row.get_by_role("button", name="Delete e2e project").click()
    page.get_by_role("button", name="Yes, delete").click()
    expect(row).to_have_count(0)


def test_a_page_that_is_open_during_an_upgrade_goes_on_and_offers_the_new_one(
    page: Page, live: Site, token: str
) -> None:
    log_in(page, token)
    before = live.serving()
    live.configure(app={"scan_interval_minutes": 45})
    live.ppmctl("deploy")

    try:
        expect(page.get_by_text("ppm was upgraded to release")).to_be_visible()
        expect(page.locator("header .release")).not_to_have_text(before)
        expect(page.locator("header [role=status]")).to_have_text("live")
        page.get_by_role("button", name="Load its page").click()
        expect(page.get_by_text("ppm was upgraded")).to_have_count(0)
    finally:
        live.configure()
        live.ppmctl("deploy")
