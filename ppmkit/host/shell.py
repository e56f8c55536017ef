"""Persistent shell on a host that runs one command after another.

One SSH session per command would cost several round trips and half a dozen processes, and a deploy runs seventy.
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

# A request line is the end mark, the input size, and the command. The input follows: `head` reads exactly that many
# bytes, and `cat` drains what the command did not read. Both outputs end with the mark, after the command's output.
# The umask is fixed so that the modes of new files do not depend on the user's umask.
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
"""The SSH session's command that runs this shell."""


class ShellGoneError(Exception):
    """The shell exited, or the connection was lost; the text is ssh's output."""


@dataclass(frozen=True)
class Result:
    """A command's output and exit status."""

    stdout: str
    stderr: str
    status: int


class Shell:
    """A shell started by ``argv``, for one command at a time. Close it after an error in :meth:`run`."""

    def __init__(self, argv: Sequence[str]) -> None:
        # A separate session: Ctrl-C must reach only ppmctl, which still needs the host to undo its work.
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._input, self._outputs = self._process.stdin, (self._process.stdout, self._process.stderr)

    def run(
        self, argv: Sequence[str], input: bytes, timeout: float, cancelled: threading.Event | None = None
    ) -> Result:
        """Run a command; return its output.

        Raises ShellGoneError, TimeoutError after ``timeout`` seconds, TooMuchError, and KeyboardInterrupt when
        ``cancelled`` is set.
        """
        mark = secrets.token_hex(16)
        command = shlex.join(argv).replace("\n", "'\"$newline\"'")  # shlex.join puts single quotes around a newline
        outputs = exchange(
            self._outputs,
            partial(_ends, mark=mark.encode()),
            timeout,
            stdin=self._input,
            request=f"{mark} {len(input)} {command}\n".encode() + input,
            cancelled=cancelled,
        )
        if not all(_ends(text, mark.encode()) for text in outputs):
            raise ShellGoneError(outputs[1].decode(errors="replace").strip())
        stdout, stderr = (text.decode(errors="replace").rpartition(mark) for text in outputs)
        return Result(stdout[0], stderr[0], int(stdout[2]))

    def close(self) -> None:
        """End the shell. A command that is still running in it continues until it writes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, *self._outputs):
            pipe.close()


def _ends(text: bytearray, mark: bytes) -> bool:
    """Return whether the output is complete: only a status, such as " 255", may follow the mark."""
    return text.endswith(b"\n") and mark in text[-len(mark) - 5 :]
