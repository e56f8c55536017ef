"""Whether a ppmctl may change a host, by which one has changed it last."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppmkit import __version__
from ppmkit.host.version import numbers, refusal
from ppmkit.paths import KIT

VERSIONS = st.tuples(*[st.integers(0, 999)] * 3)


def record(version: object) -> str:
    return json.dumps({"version": version})


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


def test_a_host_without_a_record_may_be_changed() -> None:
    assert refusal("web-1", None) is None


@given(VERSIONS, VERSIONS)
def test_only_an_older_version_is_stopped(last: tuple[int, ...], ours: tuple[int, ...]) -> None:
    stopped = refusal("web-1", record(dotted(last)), dotted(ours)) is not None

    assert stopped == (ours < last)


def test_numbers_are_compared_as_numbers_and_the_error_names_both_versions_and_what_to_do() -> None:
    assert refusal("web-1", record("0.9.0"), "0.10.0") is None

    error = refusal("web-1", record("0.10.0"), "0.9.0")

    assert error is not None
    assert "web-1: ppmctl 0.10.0 changed this host last; this is ppmctl 0.9.0" in error.message
    assert "Use ppmctl 0.10.0 or newer" in str(error.next)
    assert (error.host, error.exit_code) == ("web-1", 1)


def test_a_record_may_say_more_than_this_version_reads() -> None:
    assert refusal("web-1", json.dumps({"version": "0.1.0", "channel": "edge"}), "0.2.0") is None


NO_VERSIONS = ("", "0.1", "0.1.0rc1", "v0.1.0", "0.1.0\n", "٠.١.٠", f"0.1.{'9' * 5000}", None, 1, ["0.1.0"])
GARBLED = ["", "0.1.0", "[]", "null", "{}", "[" * 9999, *map(record, NO_VERSIONS)]


@pytest.mark.parametrize("garbled", GARBLED, ids=range(len(GARBLED)))
def test_a_record_that_names_no_version_stops_every_version(garbled: str) -> None:
    error = refusal("web-1", garbled, "999.0.0")

    assert error is not None
    assert "does not name a version" in error.message
    assert "remove the file" in str(error.next)


def test_what_a_host_says_does_not_reach_the_terminal() -> None:
    error = refusal("web-1", record("\x1b[2J9.9.9"), "0.2.0")

    assert error is not None
    assert "\x1b" not in f"{error.message}{error.next}"


def test_the_version_is_three_numbers_and_told_by_the_command() -> None:
    assert len(numbers(__version__)) == 3

    argv = [sys.executable, str(KIT / "ppmctl.py"), "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/")

    assert done.stdout == f"ppmctl {__version__}\n"
