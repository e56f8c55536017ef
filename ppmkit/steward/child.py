"""Run the steward's commands in child processes, so that CPU-bound work runs in parallel on another core."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .errors import failed

_PR_SET_PDEATHSIG = 1


@contextmanager
def beside(*argv: str) -> Iterator[Callable[[], Any]]:
    """Run a command in parallel with this process; yield a function that waits for its result and raises its error.

    The command ends with the block at the latest, and with this process.
    """
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    full_argv = [sys.executable, "-m", str(__package__), "--beside", str(os.getpid()), *argv]
    with subprocess.Popen(
        full_argv, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:

        def result() -> Any:
            output, errors = process.communicate()
            if process.returncode != 0:
                raise failed(process.returncode, errors.strip().removeprefix("steward: "))
            return json.loads(output)

        try:
            yield result
        finally:
            process.kill()


def end_with(parent: int) -> None:
    """Kill this process as soon as its parent exits, even if the parent is killed and cannot clean up."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
