"""Who has the database open besides the stack's own containers: nobody may, when another takes its place."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Collection

    from ppmkit.backup.client import Office
    from ppmkit.orchestrator.stack import Stack

_WHO = 'for pid in "$@"; do echo "$pid $(cat /proc/$pid/cgroup | tr "\\n" " ")"; done'


def refuse_strangers(steward: Office, stack: Stack) -> None:
    """Raise PreflightError, naming the processes, when anything but the stack's containers has the database open.

    SQLite in WAL mode holds a lock on the file for as long as it has it open, and the kernel tells everybody of it.
    """
    host = steward.host
    where = steward.ask("where", str(host.environment.database))
    pids = lockers(host.run(["cat", "/proc/locks"]).stdout, where["device"], where["inode"])
    groups = host.run(["sh", "-c", _WHO, "sh", *map(str, sorted(pids))], check=False).stdout
    if strange := strangers(groups, {container.id for container in stack.containers}):
        argv = ["ps", "-o", "pid=,user=,args=", "-p", ",".join(map(str, strange))]
        seen = host.run(argv, check=False).stdout.strip()
        raise PreflightError(
            f"{host.name}: somebody else has the database open. Nothing was changed",
            host=host.name,
            seen=seen or json.dumps(strange),
            next=f"Let it end, or stop it on {host.name}: kill {' '.join(map(str, strange))}",
        )


def lockers(locks: str, device: str, inode: int) -> set[int]:
    """Given /proc/locks, return the processes that hold a lock on a file."""
    lines = [line.split() for line in locks.splitlines()]
    held = [line for line in lines if len(line) >= 8 and line[1] == "POSIX"]
    return {int(line[4]) for line in held if line[5] == f"{device}:{inode}" and int(line[4]) > 0}


def strangers(groups: str, containers: Collection[str]) -> list[int]:
    """Given lines of a process and its control groups, return those that are in none of the containers."""
    found = []
    for line in groups.splitlines():
        pid, _, group = line.partition(" ")
        parts = {PurePosixPath(part).name.removeprefix("docker-").removesuffix(".scope") for part in group.split()}
        if group.strip() and not parts & set(containers):
            found.append(int(pid))
    return found
