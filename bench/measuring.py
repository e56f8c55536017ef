"""The cost of a command, and damage that a backup must detect."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

WAYS = 100


class Cost(NamedTuple):
    """The cost of a command."""

    seconds: float
    megabytes: int
    """The peak memory of the command, or of a program that it ran; never less than this process has."""


def measured(argv: Sequence[str], variables: Mapping[str, str] | None = None, input: str = "") -> Cost:
    """Run a command; return its cost. Raises CalledProcessError."""
    began = time.monotonic()
    process = subprocess.Popen(
        argv,
        env=os.environ | (variables or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None, "it was asked for"
    process.stdin.write(input)
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)  # of this child only: earlier ones may have used more
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return Cost(time.monotonic() - began, used.ru_maxrss // 1024)


def damaged(file: Path) -> Iterator[int]:
    """Flip a bit of the file, or truncate it, in a different way each time, the same in each run; yield the number of
    the way. At the end the file is intact again."""
    chance, good = random.Random(1), file.with_suffix(".good")  # noqa: S311
    file.rename(good)
    try:
        for number in range(WAYS):
            shutil.copyfile(good, file)
            at = chance.randrange(good.stat().st_size)
            with file.open("r+b") as out:
                if number % 2:
                    out.seek(at)
                    byte = out.read(1)
                    out.seek(at)
                    out.write(bytes([byte[0] ^ 1]))
                else:
                    out.truncate(at)
            yield number
    finally:
        good.replace(file)
