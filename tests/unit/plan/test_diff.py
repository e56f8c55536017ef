"""Texts that people read: diffs, masked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppmkit import redact
from ppmkit.config.environment import Environment
from ppmkit.plan import diff as diffs
from ppmkit.release import render
from ppmkit.release.model import Images, Release, Source
from tests.unit.conftest import environment_of

TEXTS = st.lists(st.text(max_size=20), max_size=8).map("\n".join)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="•"), min_size=8, max_size=40)


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_values", set())


@given(text=TEXTS)
def test_equal_texts_have_no_difference(text: str) -> None:
    assert diffs.unified(text, text) == ""


@given(value=VALUES, before=TEXTS, after=TEXTS)
def test_no_diff_and_no_document_shows_a_value_that_was_learned(value: str, before: str, after: str) -> None:
    redact._values.clear()
    redact.learn(value)

    diff = diffs.unified(f"{before}{value}{after}", f"{after}\nx: {value}\n{before}")

    assert value not in diff
    document = json.loads(redact.redacted_json({"seen": [f"{before}{value}", f"{value}{after}"], value: 1}))
    assert not any(value in text for text in [*document, *document["seen"]])


def release_of(environment: Environment, images: Images, version: str = "0a1b2c3d") -> Release:
    return render.release(environment, images, {"session_secret": version})


def test_equal_releases_differ_in_nothing(environment: Environment, images: Images) -> None:
    release = release_of(environment, images)
    tree = render.tree(environment, release)

    assert diffs.files(release, tree, release, tree) == ()
    assert diffs.secrets(release, release) == diffs.images(release, release) == ()


def test_a_setting_is_one_line_however_often_the_release_is_named(environment: Environment, images: Images) -> None:
    other = environment_of(app={"log_level": "debug"})
    was, wanted = release_of(environment, images), release_of(other, images.model_copy(update={"api": "sha256:new"}))

    [section] = diffs.files(was, render.tree(environment, was), wanted, render.tree(other, wanted))

    changed = [line for line in section.diff.splitlines()[2:] if line[:1] in "+-"]
    assert section.name == "compose"
    assert changed == ['-  LOG_LEVEL: "info"', '+  LOG_LEVEL: "debug"']


def test_another_rate_is_a_change_of_the_proxy(environment: Environment, images: Images) -> None:
    other = environment_of(app={"rate_limit_per_minute": 7})
    was, wanted = release_of(environment, images), release_of(other, images)

    sections = diffs.files(was, render.tree(environment, was), wanted, render.tree(other, wanted))

    assert {section.name for section in sections} == {"compose", "proxy"}


def test_a_first_release_is_all_new(environment: Environment, images: Images) -> None:
    wanted = release_of(environment, images)

    sections = diffs.files(None, {}, wanted, render.tree(environment, wanted))

    assert [section.name for section in sections] == ["compose", "proxy"]
    assert diffs.secrets(None, wanted) == ("secret session_secret: version none → 0a1b2c3d",)
    assert diffs.images(None, wanted)[0].startswith("api image: none → 0123")


def test_secrets_and_images_are_named_by_version_and_digest(environment: Environment, images: Images) -> None:
    was = release_of(environment, images)
    wanted = release_of(environment, images.model_copy(update={"api": images.frontend}), "ffffffff")

    assert diffs.secrets(was, wanted) == ("secret session_secret: version 0a1b2c3d → ffffffff",)
    assert diffs.images(was, wanted) == ("api image: 0123456789ab → 1123456789ab",)
    clean, dirty = Source(commit="a" * 40, dirty=False), Source(commit="b" * 40, dirty=True)
    assert diffs.sources(clean, dirty) == "built from commit aaaaaaaaaa → bbbbbbbbbb with changes"
