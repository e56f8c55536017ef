"""Environment lock on a host: one operation at a time.

A process on the host holds it with flock and lives as long as our connection, so a lock cannot become stale.
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
    """Hold the lock for the duration of the block. Raises HostLocked, which names the current owner."""
    holder = host.start(["sh", "-c", _TAKE, "sh", str(_file(host)), json.dumps(dict(owner))])
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        answer, errors = _first_line(host, holder), Tail(holder.stderr)
        if answer != "held":
            raise _refusal(host, _exit_status(holder), answer, errors.text())
        yield
    finally:
        with suppress(BrokenPipeError):
            holder.stdin.close()
        _exit_status(holder)
        holder.stdout.close()
        holder.stderr.close()


def _first_line(host: Host, holder: subprocess.Popen[bytes]) -> str:
    """Return the host's answer to the lock request. Raises CommandFailed if it takes too long."""
    assert holder.stdout is not None
    try:
        [answer] = exchange([holder.stdout], has_line, _SECONDS, limit=_OWNER_SIZE)
    except (TimeoutError, TooMuchError) as error:
        why = str(error) or f"no answer within {_SECONDS:g} s"
        raise CommandFailed(f"{host.name}: cannot take the lock: {why}", host=host.name) from error
    return answer.decode(errors="replace").strip()


def _exit_status(holder: subprocess.Popen[bytes]) -> int:
    """Wait for a process that is about to exit and return its status; kill it if it does not exit."""
    try:
        return holder.wait(2)
    except subprocess.TimeoutExpired:
        holder.kill()
        return holder.wait()


def is_held(host: Host) -> bool:
    """Return whether an operation holds the lock."""
    script = 'test -e "$1" && ! flock -n "$1" true'
    return host.run(["sh", "-c", script, "sh", str(_file(host))], check=False).status == 0


def _file(host: Host) -> PurePosixPath:
    return host.environment.directory / "lock"


def _refusal(host: Host, status: int, answer: str, errors: str) -> HostError:
    if status != _LOCKED:
        return CommandFailed(
            f"{host.name}: cannot take the lock in {host.environment.directory}",
            host=host.name,
            seen=errors.strip() or None,
            next=f"ppmctl provision -e {host.environment.name}",
        )
    try:
        owner = json.loads(answer)
        who = f"{owner['who']} runs `{owner['command']}` since {owner['since']}"
    except (ValueError, KeyError):
        who = "another operation is running"
    return HostLocked(
        f"{host.name} is locked: {who}",
        host=host.name,
        next="Wait for it to end. The lock ends with its connection; it never needs to be removed",
    )
