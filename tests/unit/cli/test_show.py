"""What people see of a hostile host: every character of it, and none that a terminal or rich would obey."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console as Rich

from ppmkit import redact
from ppmkit.actions.backup import Summary, Verdict, Verification
from ppmkit.actions.drill import Drill
from ppmkit.actions.status import Check, HostStatus, ServiceStatus, Status
from ppmkit.cli import show, show_backups, terminal
from ppmkit.cli.console import Console
from ppmkit.errors import HostError
from ppmkit.operation.journal import OperationSummary
from ppmkit.plan.model import EnvironmentPlan, HostPlan
from ppmkit.redact import redacted_json, visible

HOSTILE = "\x1b]52;c;cHduZWQ=\x07\x1b[8m\x9b2J\u202e[link=http://evil]x[/link][/][bold]:skull:\x7f"
SEEN = "\\x1b]52;c;cHduZWQ=\\x07\\x1b[8m\\x9b2J\\u202e[link=http://evil]x[/link][/][bold]:skull:\\x7f"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SUMMARY = Summary(
    host="a", id=HOSTILE, kind="manual", pinned=False, created=NOW, bytes=1, plain_bytes=1, encrypted=False,
    revision=None, rows=1, verified=True, level="L3", checked=None,
)  # fmt: skip
SERVICE = ServiceStatus(name=HOSTILE, color=None, release="", running=1, wanted=2, since=None)
HOST = HostStatus(
    name="a", release="x", color=None, services=(SERVICE,), backups=None, checks=(Check(name="c", ok=False, seen="s"),)
)
RENDERED: dict[str, Any] = {
    "history": lambda: show.history(
        [
            OperationSummary(
                operation="o",
                kind="deploy",
                release="r",
                outcome="done",
                began=NOW,
                seconds=1,
                who="w",
                error=HOSTILE,
                color="blue",
                steps=(),
            )
        ]
    ),
    "plan": lambda: show.plan(
        EnvironmentPlan(
            environment="e",
            release="r",
            changed=True,
            hosts=(HostPlan(name="a", notes=(HOSTILE,)), HostPlan(name="b", problem=HOSTILE)),
        )
    ),
    "status": lambda: show.status(Status(environment="e", url="u", healthy=False, problems=(HOSTILE,), hosts=(HOST,))),
    "doctor": lambda: show.doctor([SimpleNamespace(where="a", name="n", ok=False, found=HOSTILE, wanted="w", fix="f")]),  # type: ignore[list-item]
    "backups": lambda: show_backups.backups([SUMMARY]),
    "verifications": lambda: show_backups.verifications(
        [Verification(host="a", id="b", time=NOW, level="L3", outcome="ok", seen=HOSTILE, seconds=1)]
    ),
    "drills": lambda: show_backups.drills([Drill(host="a", id="b", outcome="ok", seconds=1, evidence=HOSTILE)]),
    "verdicts": lambda: show_backups.verdicts([Verdict(host="a", id="b", keep=True, why=HOSTILE)], dry_run=True),
    "restored": lambda: show_backups.restored(
        SimpleNamespace(host="a", id="b", held_seconds=1.0, seconds=1.0, failed=HOSTILE, safety=HOSTILE)  # type: ignore[arg-type]
    ),
    "lab": lambda: show.lab([SimpleNamespace(name="a", state=HOSTILE, ports=(1, 2, 3))]),  # type: ignore[list-item]
    "releases": lambda: show.releases(
        [
            SimpleNamespace(
                id=HOSTILE,
                source=SimpleNamespace(commit=None, dirty=False),
                steps=(),
                when=NOW,
                who="w",
                color="blue",
                schema_after=None,
            )
        ],
        SimpleNamespace(record=None),
    ),
}
PRINTERS = {
    name
    for module in (show, show_backups)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_") and "-> None" in inspect.getsource(function)
}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a wide terminal got."""
    written = io.StringIO()

    def console(*_: Any, **__: Any) -> Rich:
        return Rich(file=written, force_terminal=True, width=400, highlight=False, color_system="truecolor")

    monkeypatch.setattr(terminal, "_console", console)
    return written


def unstyled(text: str) -> str:
    """Return what was written without the colors that are ours."""
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_every_function_that_prints_is_tried() -> None:
    assert RENDERED.keys() == PRINTERS


@pytest.mark.parametrize("name", sorted(RENDERED))
def test_a_hosts_words_are_shown_and_not_obeyed(name: str, screen: io.StringIO) -> None:
    RENDERED[name]()

    said = unstyled(screen.getvalue())
    assert SEEN in said
    assert not set(said) & set("\x1b\x07\x9b\u202e\x7f")


def test_progress_and_errors_show_and_obey_nothing() -> None:
    written = io.StringIO()
    console = Console()
    console._rich = Rich(file=written, force_terminal=True, width=400, highlight=False)
    console._status = console._rich.status("")

    with console:
        console.say(HOSTILE)
        console.announce(HOSTILE)
        console.step("a", HOSTILE)
        console.done("a", HOSTILE, 1.0, HOSTILE)
        console.failed("a", HOSTILE, HOSTILE)
        console.error(HostError(HOSTILE, seen=HOSTILE, next=HOSTILE))

    said = written.getvalue()
    assert unstyled(said).count(SEEN) >= 8
    for command in ("\x1b]", "\x1b[8m", "\x07", "\x9b", "\u202e", "\x7f"):
        assert command not in said


def test_what_is_printed_as_text_is_visible_too(capsys: pytest.CaptureFixture[str]) -> None:
    from ppmkit.cli import common

    common.write(f"{HOSTILE}\n")

    assert capsys.readouterr().out == f"{SEEN}\n"


def test_json_stays_json_and_holds_no_control_character() -> None:
    text = redacted_json({"seen": HOSTILE})

    assert json.loads(text) == {"seen": HOSTILE}
    assert text.isprintable()


def test_newlines_tabs_and_letters_of_every_language_stay() -> None:
    text = "ä\tб\n漢字 🙂 é"

    assert visible(text) == text
    assert visible("one\r\ntwo\rthree") == "one\ntwo\\x0dthree"


def test_a_secret_is_masked_before_its_characters_are_made_visible() -> None:
    redact.learn("a\x1bsecret\x07value")

    assert redact.shown("<a\x1bsecret\x07value>") == "<•••>"
