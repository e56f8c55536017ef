"""A shell on a host that stays, and runs one command after another.

A session of SSH for each command would be some round trips and half a dozen processes, and a deploy runs seventy.
"""

from __future__ import annotations

import secrets
import shlex
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ppmkit.local.bounded import exchange

# A line is the mark of the end, the size of the input, and the command; then comes the input, of which `head` takes no
# byte too many, and `cat` what the command has left. Both outputs say the mark, after whatever the command printed.
# What a command makes belongs to one user, whatever umask that user has.
_LOOP = r"""
umask 022
newline='
'
while read -r mark size command; do
    if test "$size" = 0; then
        (eval "exec $command") < /dev/null
    else
        head -c "$size" | { (eval "exec $command"); status=$?; cat > /dev/null; exit "$status"; }
    fi
    printf '%s %s\n' "$mark" "$?"
    printf '%s\n' "$mark" >&2
done
"""
START = shlex.join(["exec", "sh", "-c", _LOOP])
"""The command of a session that runs this shell."""


class ShellGoneError(Exception):
    """The shell has ended, by itself or with the connection; the text is what ssh said."""


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit status."""

    stdout: str
    stderr: str
    status: int


class Shell:
    """A shell that ``argv`` starts, for one command at a time. After an error of :meth:`run` it is to be closed."""

    def __init__(self, argv: Sequence[str]) -> None:
        # In a session of its own: Ctrl-C must reach ppmctl only, which still needs the host to undo.
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._input, self._outputs = self._process.stdin, (self._process.stdout, self._process.stderr)

    def run(
        self, argv: Sequence[str], input: bytes, timeout: float, cancelled: threading.Event | None = None
    ) -> Result:
        """Run a command; return what it printed.

        Raises ShellGoneError, TimeoutError after ``timeout`` seconds, TooMuchError, and KeyboardInterrupt once
        ``cancelled`` is set.
        """
        mark = secrets.token_hex(16)
        command = shlex.join(argv).replace("\n", "'\"$newline\"'")  # where a newline is, single quotes are around it
        said = exchange(
            self._outputs,
            partial(_ends, mark=mark.encode()),
            timeout,
            stdin=self._input,
            request=f"{mark} {len(input)} {command}\n".encode() + input,
            cancelled=cancelled,
        )
        if not all(_ends(text, mark.encode()) for text in said):
            raise ShellGoneError(said[1].decode(errors="replace").strip())
        stdout, stderr = (text.decode(errors="replace").rpartition(mark) for text in said)
        return Result(stdout[0], stderr[0], int(stdout[2]))

    def close(self) -> None:
        """End the shell. A command that still runs in it goes on until it writes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, *self._outputs):
            pipe.close()


def _ends(text: bytearray, mark: bytes) -> bool:
    """Return whether this is all: behind the mark there is at most a status, as in " 255"."""
    return text.endswith(b"\n") and mark in text[-len(mark) - 5 :]
