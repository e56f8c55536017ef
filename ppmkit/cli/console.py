"""What people see while something works: progress and words on stderr, results on stdout.

Colours and bars only on a terminal; in a pipe, one plain line for each thing that happened.
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
    """Progress and words on stderr; as ppmkit/progress.py has it. Use as a context manager."""

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
        if kind is KeyboardInterrupt:  # the command line ends without a word
            self.say("interrupted")

    def say(self, text: str) -> None:
        """Print a line."""
        self._rich.print(Text(shown(text)), soft_wrap=True)

    def pause(self) -> None:
        """Leave the terminal to a question."""
        self._status.stop()

    def announce(self, text: str) -> None:
        """Show what is being done: on a terminal in a line that is replaced, else as a line."""
        if self._rich.is_terminal:
            self._status.update(Text(shown(text)))
            self._status.start()
        else:
            self.say(f"  {text}")

    def planned(self, host: str, changes: Iterable[str]) -> None:
        """Print what a deploy is about to do."""
        self._status.stop()
        for change in changes:
            self.say(f"{host}: {change}")

    def step(self, host: str, name: str) -> None:
        """A step begins."""
        if self._rich.is_terminal:
            self._status.update(Text(shown(f"{host}  {name} …")))
            self._status.start()

    def done(self, host: str, name: str, seconds: float, said: str) -> None:
        """A step ended well."""
        self._status.stop()
        self._end_bar()
        head = Text.assemble(f"{shown(host)}  ", ("✓", "green"), f" {shown(name):<8} {seconds:6.1f} s  ")
        self._rich.print(head, end="", soft_wrap=True)
        self.say(said)

    def failed(self, host: str, name: str, said: str) -> None:
        """A step failed."""
        self._status.stop()
        self._end_bar()
        head = Text.assemble(f"{shown(host)}  ", ("✗", "red"), f" {shown(name):<8}  ")
        self._rich.print(head, end="", soft_wrap=True)
        self.say(said.splitlines()[0] if said else "")
        self.announce("undoing")

    def sent(self, host: str, sent: int, total: int) -> None:
        """So many bytes of so many are on the host."""
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
        """Print an error: what, what was seen, what to run."""
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
