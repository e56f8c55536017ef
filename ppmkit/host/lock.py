"""The lock of an environment on a host: one operation at a time.

It is a flock of a process on the host that lives as long as our connection: a stale one cannot exist.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.errors import CommandFailed, HostError, HostLocked
from ppmkit.local.bounded import Tail, TooMuchError, exchange, has_line

if TYPE_CHECKING:
    from ppmkit.host.host import Host

_LOCKED = 75  # EX_TEMPFAIL of sysexits.h
_SECONDS = 60.0
_OWNER_SIZE = 1 << 16
_TAKE = f"""
umask 022
exec 9<>"$1" || exit 1
flock -n 9 || {{ cat "$1"; exit {_LOCKED}; }}
printf '%s\\n' "$2" > "$1"
# Older versions left these to a group to change, and the journal to everybody to read.
cd "${{1%/*}}" && chmod -f go-w "$1" secrets/placed; chmod -f 600 journal.jsonl; chmod -fR go-w releases
echo held
exec cat > /dev/null
"""


@contextmanager
def held(host: Host, owner: Mapping[str, str]) -> Iterator[None]:
    """Hold the lock for as long as the block lasts; raises HostLocked with the owner of the one who does."""
    holder = host.start(["sh", "-c", _TAKE, "sh", str(_file(host)), json.dumps(dict(owner))])
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        said, errors = _first_line(host, holder), Tail(holder.stderr)
        if said != "held":
            raise _why_not(host, _ended(holder), said, errors.text())
        yield
    finally:
        with suppress(BrokenPipeError):
            holder.stdin.close()
        _ended(holder)
        holder.stdout.close()
        holder.stderr.close()


def _first_line(host: Host, holder: subprocess.Popen[bytes]) -> str:
    """Return what the host says of the lock. Raises CommandFailed when that takes too long."""
    assert holder.stdout is not None
    try:
        [said] = exchange([holder.stdout], has_line, _SECONDS, limit=_OWNER_SIZE)
    except (TimeoutError, TooMuchError) as error:
        why = str(error) or f"no answer within {_SECONDS:g} s"
        raise CommandFailed(f"{host.name}: cannot take the lock: {why}", host=host.name) from error
    return said.decode(errors="replace").strip()


def _ended(holder: subprocess.Popen[bytes]) -> int:
    """Return the exit status of a process that has nothing left to do, killed if it does not end."""
    try:
        return holder.wait(2)
    except subprocess.TimeoutExpired:
        holder.kill()
        return holder.wait()


def is_held(host: Host) -> bool:
    """Return whether somebody holds the lock."""
    script = 'test -e "$1" && ! flock -n "$1" true'
    return host.run(["sh", "-c", script, "sh", str(_file(host))], check=False).status == 0


def _file(host: Host) -> PurePosixPath:
    return host.environment.directory / "lock"


def _why_not(host: Host, status: int, said: str, errors: str) -> HostError:
    if status != _LOCKED:
        return CommandFailed(
            f"{host.name}: cannot take the lock in {host.environment.directory}",
            host=host.name,
            seen=errors.strip() or None,
            next=f"ppmctl provision -e {host.environment.name}",
        )
    try:
        owner = json.loads(said)
        who = f"{owner['who']} runs `{owner['command']}` since {owner['since']}"
    except (ValueError, KeyError):
        who = "another operation runs"
    return HostLocked(
        f"{host.name} is locked: {who}",
        host=host.name,
        next="Wait for it to end; the lock goes with its connection and never needs to be removed",
    )
