"""Commands of the steward in processes of their own: what wants all of a processor leaves the others to the rest."""

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
    """Run a command beside this process; yield what waits for its answer, and raises what it failed with.

    It ends with the block at the latest, and with this process.
    """
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    whole = [sys.executable, "-m", str(__package__), "--beside", str(os.getpid()), *argv]
    with subprocess.Popen(
        whole, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:

        def answer() -> Any:
            said, trouble = process.communicate()
            if process.returncode != 0:
                raise failed(process.returncode, trouble.strip().removeprefix("steward: "))
            return json.loads(said)

        try:
            yield answer
        finally:
            process.kill()


def end_with(parent: int) -> None:
    """End this process as soon as its parent does, killed or not: nobody else knows of it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
