"""How a value is written into a template, and what a template may not do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ppmkit.errors import ConfigError
from ppmkit.release import template
from tests.unit.release.test_values import HOSTILE


@settings(max_examples=50, deadline=None)
@given(text=st.text() | st.sampled_from(HOSTILE))
def test_neither_yaml_nor_a_template_of_go_sees_more_than_a_text(text: str) -> None:
    for dollar in ("$", "$$"):
        written = str(template.scalar([text], dollar))
        assert "{{" not in written
        assert json.loads(written) == [text.replace("$", dollar)]
        if not any("\ud800" <= character <= "\udfff" for character in text):
            assert YAML(typ="safe").load(written) == [text.replace("$", dollar)]


def test_a_template_that_writes_a_value_as_it_is_takes_a_plain_one_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml.j2").write_text("a: {{ value }}\nb: '{{ [value] | tojson }}'\n")
    monkeypatch.setattr(template, "KIT", tmp_path)
    monkeypatch.setattr(template, "_jinja", template._jinja.__wrapped__)

    assert template.fill_compose("mine.yaml.j2", value="web-1.example.org:443") == (
        "a: web-1.example.org:443\nb: '[\"web-1.example.org:443\"]'\n"
    )
    for value in ("a b", "$X", "a: b", "x, y", "{{", "'", "a:", "-x", "#", "*a"):
        with pytest.raises(ConfigError, match=r"mine\.yaml\.j2 writes a value without escaping") as raised:
            template.fill_compose("mine.yaml.j2", value=value)
        assert raised.value.seen == value


@pytest.mark.parametrize("named", ["$X", "${X}", "${X:-y}"])
def test_a_template_that_asks_the_shell_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str) -> None:
    (tmp_path / "mine.yaml.j2").write_text(f"a: $$Y\n# {named}\nb: $${named}\n")
    monkeypatch.setattr(template, "KIT", tmp_path)
    monkeypatch.setattr(template, "_jinja", template._jinja.__wrapped__)

    with pytest.raises(ConfigError) as raised:
        template.fill_compose("mine.yaml.j2")

    assert f"would take {named} from the shell" in raised.value.message
    assert raised.value.seen == f"b: $${named}"
