"""Console output while a command runs: progress and messages on stderr, results on stdout.

Colors and bars appear only on a terminal; in a pipe, each event is one plain line.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console as Rich
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.text import Text

from ppmkit.redact import shown

if TYPE_CHECKING:
    from ppmkit.errors import PpmctlError


class Console:
    """Progress and messages on stderr; implements ppmkit/progress.py. Use as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._rich = Rich(stderr=True, quiet=quiet, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._status = self._rich.status("")

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()
        self._end_bar()
        if kind is KeyboardInterrupt:  # the command line itself prints nothing
            self.say("interrupted")

    def say(self, text: str) -> None:
        """Print a line."""
        self._rich.print(Text(shown(text)), soft_wrap=True)

    def pause(self) -> None:
        """Stop the status line, to ask a question."""
        self._status.stop()

    def announce(self, text: str) -> None:
        """Show the current activity: on a terminal in a line that is replaced, else as a permanent line."""
        if self._rich.is_terminal:
            self._status.update(Text(shown(text)))
            self._status.start()
        else:
            self.say(f"  {text}")

    def planned(self, host: str, changes: Iterable[str]) -> None:
        """Print the changes that an operation is about to make."""
        self._status.stop()
        for change in changes:
            self.say(f"{host}: {change}")

    def step(self, host: str, name: str) -> None:
        """Show that a step begins."""
        if self._rich.is_terminal:
            self._status.update(Text(shown(f"{host}  {name} …")))
            self._status.start()

    def done(self, host: str, name: str, seconds: float, said: str) -> None:
        """Print that a step succeeded."""
        self._status.stop()
        self._end_bar()
        head = Text.assemble(f"{shown(host)}  ", ("✓", "green"), f" {shown(name):<8} {seconds:6.1f} s  ")
        self._rich.print(head, end="", soft_wrap=True)
        self.say(said)

    def failed(self, host: str, name: str, said: str) -> None:
        """Print that a step failed."""
        self._status.stop()
        self._end_bar()
        head = Text.assemble(f"{shown(host)}  ", ("✗", "red"), f" {shown(name):<8}  ")
        self._rich.print(head, end="", soft_wrap=True)
        self.say(said.splitlines()[0] if said else "")
        self.announce("undoing")

    def sent(self, host: str, sent: int, total: int) -> None:
        """Show how many bytes are on the host, out of the total."""
        if not self._rich.is_terminal:
            return
        if self._bar is None:
            self._status.stop()
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bar = Progress(*columns, console=self._rich, transient=True)
            self._task = self._bar.add_task(f"{escape(shown(host))}  ship", total=total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=sent, total=total)

    def error(self, error: PpmctlError) -> None:
        """Print an error: message, evidence, and what to run next."""
        self._status.stop()
        self._end_bar()
        self._rich.print("[bold red]error:[/] ", end="")
        self.say(f"{error.step}: {error.message}" if error.step else error.message)
        if error.seen:
            self.say("\n".join(f"  {line}" for line in error.seen.splitlines()))
        if error.next:
            self._rich.print("[bold]next:[/] ", end="")
            self.say(error.next)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
