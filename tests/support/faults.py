"""Faults at the boundary to the kernel, one system call after another: a kill, a full disk, a disk that fails.

strace (https://strace.io) counts the calls that a program makes about files of a folder, and then lets any of them
fail, or kills the program as it makes it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ppmkit.paths import KIT

CREATING = frozenset({"openat", "mkdir", "link", "linkat", "write", "pwrite64", "ftruncate", "fallocate", "fsync"})
"""What a disk without room refuses; it goes on refusing."""
CHANGING = CREATING | {"fdatasync", "sync_file_range", "rename", "renameat", "unlink", "unlinkat", "rmdir"}
READING = frozenset({"read", "pread64", "preadv"})
_CALL = re.compile(r"^(\d+) +(\w+)\(")


@dataclass(frozen=True)
class Fault:
    """What happens at which call, by number among those of its name."""

    call: str
    number: int
    what: str
    """As strace writes it."""
    on: str = ""
    """`+`: at every later one, too."""

    def __str__(self) -> str:
        return f"{self.call}:{self.what}:when={self.number}{self.on}"


@cache
def unavailable() -> str | None:
    """Return why there can be no faults here; None when there can."""
    if shutil.which("strace") is None:
        return "strace is not installed: apt-get install strace"
    argv = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=fsync:error=EIO:when=1", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f"strace may not trace here (ptrace): {done.stderr.strip()}" if done.returncode else None


def _run(options: Sequence[str], script: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(KIT)}
    traced = ["strace", "-f", "-qq", "--seccomp-bpf", *options, sys.executable, "-c", script, *argv]
    return subprocess.run(traced, env=variables, capture_output=True, text=True, timeout=60, check=False)


def calls(script: str, *argv: str, about: Path, log: Path) -> list[tuple[str, int]]:
    """Run a script as it is; return the calls about files below a folder: their names, and each one's number."""
    done = _run(["-y", "-o", str(log), "-e", "trace=%file,%desc"], script, argv)
    assert done.returncode == 0, done.stderr
    counted: Counter[tuple[str, str]] = Counter()  # each process has numbers of its own
    found = set()
    for line in log.read_text(errors="replace").splitlines():
        if match := _CALL.match(line):
            counted[match[1], match[2]] += 1
            if str(about) in line:
                found.add((match[2], counted[match[1], match[2]]))
    return sorted(found)


def kills(found: Sequence[tuple[str, int]]) -> list[Fault]:
    """Return a kill before each of these calls."""
    return [Fault(call, number, "signal=KILL") for call, number in found if call != "execve"]


def errors(found: Sequence[tuple[str, int]]) -> list[Fault]:
    """Return, for each of these calls, the errors of a disk that fails once, and of one that is full from then on."""
    failing = [Fault(call, number, "error=EIO") for call, number in found if call in CHANGING | READING]
    return failing + [Fault(call, number, "error=ENOSPC", "+") for call, number in found if call in CREATING]


def struck(fault: Fault, script: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a fault; one that is killed has the status -9."""
    return _run(["-o", os.devnull, "-e", f"trace={fault.call}", "-e", f"inject={fault}"], script, argv)
