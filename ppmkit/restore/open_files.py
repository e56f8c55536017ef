"""Check for foreign processes that have the database open: it can be replaced only when there are none."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Collection

    from ppmkit.backup.client import StewardClient
    from ppmkit.orchestrator.stack import Stack

_CGROUPS = 'for pid in "$@"; do echo "$pid $(cat /proc/$pid/cgroup | tr "\\n" " ")"; done'


def refuse_foreign_processes(steward: StewardClient, stack: Stack) -> None:
    """Raise PreflightError, naming the processes, when anything but the stack's containers has the database open.

    SQLite in WAL mode locks the file while it has it open, and every user can see that lock in /proc/locks.
    """
    host = steward.host
    location = steward.ask("where", str(host.environment.database))
    pids = lockers(host.run(["cat", "/proc/locks"]).stdout, location["device"], location["inode"])
    groups = host.run(["sh", "-c", _CGROUPS, "sh", *map(str, sorted(pids))], check=False).stdout
    if foreign := foreign_processes(groups, {container.id for container in stack.containers}):
        argv = ["ps", "-o", "pid=,user=,args=", "-p", ",".join(map(str, foreign))]
        processes = host.run(argv, check=False).stdout.strip()
        raise PreflightError(
            f"{host.name}: another process has the database open. Nothing was changed",
            host=host.name,
            seen=processes or json.dumps(foreign),
            next=f"Let it finish, or stop it on {host.name}: kill {' '.join(map(str, foreign))}",
        )


def lockers(locks: str, device: str, inode: int) -> set[int]:
    """Given /proc/locks, return the processes that hold a lock on a file."""
    lines = [line.split() for line in locks.splitlines()]
    held = [line for line in lines if len(line) >= 8 and line[1] == "POSIX"]
    return {int(line[4]) for line in held if line[5] == f"{device}:{inode}" and int(line[4]) > 0}


def foreign_processes(groups: str, containers: Collection[str]) -> list[int]:
    """Given a line per process with its control groups, return the processes that are in none of the containers."""
    foreign = []
    for line in groups.splitlines():
        pid, _, group = line.partition(" ")
        parts = {PurePosixPath(part).name.removeprefix("docker-").removesuffix(".scope") for part in group.split()}
        if group.strip() and not parts & set(containers):
            foreign.append(int(pid))
    return foreign
