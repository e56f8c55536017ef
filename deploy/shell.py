"""A shell on a host that stays, and runs one command after another.

A session of SSH for each command would be some round trips and half a dozen processes, and a deploy runs seventy.
"""

from __future__ import annotations

import os
import secrets
import selectors
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

# A line is the mark of the end, the size of the input, and the command; then comes the input, of which `head` takes no
# byte too many, and `cat` what the command has left. Both outputs say the mark, after whatever the command printed.
_LOOP = r"""
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
_BLOCK = 1 << 16


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
        os.set_blocking(self._input.fileno(), False)

    def run(self, argv: Sequence[str], input: bytes, timeout: float) -> Result:
        """Run a command; return what it printed.

        Raises ShellGoneError, and TimeoutError after ``timeout`` seconds.
        """
        mark = secrets.token_hex(16)
        command = shlex.join(argv).replace("\n", "'\"$newline\"'")  # where a newline is, single quotes are around it
        said = self._exchange(f"{mark} {len(input)} {command}\n".encode() + input, mark.encode(), timeout)
        stdout, stderr = (text.decode(errors="replace").rpartition(mark) for text in said)
        return Result(stdout[0], stderr[0], int(stdout[2]))

    def _exchange(self, request: bytes, mark: bytes, timeout: float) -> list[bytearray]:
        """Write the request, and read both outputs until each has said the mark; return them."""
        until, rest = time.monotonic() + timeout, memoryview(request)
        said = [bytearray() for _ in self._outputs]
        with selectors.DefaultSelector() as ready:
            ready.register(self._input, selectors.EVENT_WRITE)
            for output, text in zip(self._outputs, said, strict=True):
                ready.register(output, selectors.EVENT_READ, text)
            while ready.get_map():
                if (left := until - time.monotonic()) <= 0:
                    raise TimeoutError
                for key, _ in ready.select(left):
                    if key.data is None:
                        rest = rest[self._write(rest) :]
                        ended = not rest
                    elif block := os.read(key.fd, _BLOCK):
                        key.data.extend(block)
                        ended = _ends(key.data, mark)
                    else:
                        raise ShellGoneError((said[1] + self._outputs[1].read()).decode(errors="replace").strip())
                    if ended:
                        ready.unregister(key.fileobj)
        return said

    def _write(self, rest: memoryview) -> int:
        """Write what the pipe takes; return how much that was."""
        try:
            return os.write(self._input.fileno(), rest)
        except BrokenPipeError:
            return len(rest)  # the outputs say why

    def close(self) -> None:
        """End the shell. A command that still runs in it goes on until it writes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, *self._outputs):
            pipe.close()


def _ends(text: bytearray, mark: bytes) -> bool:
    """Return whether this is all: behind the mark there is at most a status, as in " 255"."""
    return text.endswith(b"\n") and mark in text[-len(mark) - 5 :]
