"""Calls side by side, which nobody has to wait for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from ppmkit.local.pool import Pool, awaited
from tests.support.waiting import eventually


def test_results_come_in_the_order_of_the_items_and_an_error_after_all_have_ended() -> None:
    ended: list[int] = []

    def act(number: int) -> int:
        ended.append(number)
        if number == 1:
            raise ValueError("one")
        return number * 2

    with Pool() as pool:
        assert pool.map(lambda number: number * 2, [3, 1, 2]) == [6, 2, 4]
        with pytest.raises(ValueError, match="one"):
            pool.map(act, [1, 2, 3])
    assert sorted(ended) == [1, 2, 3]


def test_an_interruption_ends_what_the_calls_wait_for_and_waits_for_no_call() -> None:
    process = subprocess.Popen(["sleep", "60"])
    hung = threading.Event()

    def act() -> None:
        with awaited(process):
            process.wait()

    def interrupted() -> None:
        with Pool() as pool:
            pool.start(act)
            pool.start(hung.wait)
            assert eventually(lambda: process in pool._processes)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert process.returncode == -9
    assert time.monotonic() - began < 5
    hung.set()


def test_what_the_main_thread_waits_for_is_its_own_affair() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process, awaited(process):
        with pytest.raises(KeyboardInterrupt), Pool():
            raise KeyboardInterrupt
        assert process.poll() is None


def test_the_program_ends_though_a_call_does_not() -> None:
    code = "from ppmkit.local.pool import Pool; import time; c = Pool(); c.start(time.sleep, 60); print('ends')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout == "ends\n"
