"""The shell that stays on a host: a real one, without the SSH around it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ppmkit.host.shell import START, Result, Shell, ShellGoneError


@pytest.fixture
def shell() -> Iterator[Shell]:
    started = Shell(["sh", "-c", START])
    yield started
    started.close()


def test_a_command_is_run_as_it_is_given_whatever_its_words_hold(shell: Shell) -> None:
    words = ["a b", "it's", 'a "quote"', "$HOME `id` \\", "two\nlines\n", "*", ""]

    done = shell.run(["printf", "%s|", *words], b"", 5)

    assert done == Result("".join(f"{word}|" for word in words), "", 0)


def test_its_two_outputs_and_its_status_are_told_apart(shell: Shell) -> None:
    done = shell.run(["sh", "-c", "printf out; echo err >&2; exit 7"], b"", 5)

    assert done == Result("out", "err\n", 7)
    assert shell.run(["true"], b"", 5) == Result("", "", 0)


def test_input_arrives_whole_and_what_a_command_leaves_of_it_is_none_of_the_next(shell: Shell) -> None:
    much = "zeile ü\n" * 300_000

    assert shell.run(["cat"], much.encode(), 30).stdout == much
    assert shell.run(["head", "-n", "1"], much.encode(), 30).stdout == "zeile ü\n"
    assert shell.run(["cat"], b"", 5).stdout == ""


def test_what_a_command_makes_is_for_its_owner_to_change(tmp_path: Path) -> None:
    before = os.umask(0o002)  # as Debian gives it to users with a group of their own
    try:
        another = Shell(["sh", "-c", START])
    finally:
        os.umask(before)

    another.run(["sh", "-c", 'mkdir "$1/folder"; touch "$1/file"', "sh", str(tmp_path)], b"", 5)
    another.close()

    assert [oct(path.stat().st_mode)[-3:] for path in sorted(tmp_path.iterdir())] == ["644", "755"]


def test_what_does_not_exist_or_is_killed_has_the_status_that_a_shell_gives_it(shell: Shell) -> None:
    assert shell.run(["no-such-command"], b"", 5).status == 127
    assert shell.run(["sh", "-c", "kill -9 $$"], b"", 5).status == 137


def test_a_command_that_takes_too_long_is_not_waited_for(shell: Shell) -> None:
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        shell.run(["sleep", "30"], b"", 0.2)

    assert time.monotonic() - began < 5


def test_a_shell_that_is_not_there_says_why() -> None:
    none = Shell(["sh", "-c", "echo 'Session open refused by peer' >&2; exit 255"])

    with pytest.raises(ShellGoneError, match=r"^Session open refused by peer$"):
        none.run(["true"], b"x" * 1_000_000, 5)

    none.close()


def test_nothing_stays_open(shell: Shell) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    another = Shell(["sh", "-c", START])
    another.run(["true"], b"", 5)
    another.close()
    assert count() == before
    assert shell.run(["true"], b"", 5).status == 0
