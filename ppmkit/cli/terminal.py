"""Print tables and lines on stdout, with colors on a terminal. Text from hosts is never interpreted as markup."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ppmkit.redact import shown

_WIDTH_IN_A_PIPE = 140


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_IN_A_PIPE)


def table(*columns: str) -> Table:
    """Return an empty table."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def text(content: str, style: str = "") -> Text:
    """Return a text that is safe to print: host text is not interpreted as markup or as control characters."""
    return Text(shown(content), style=style)


def row(into: Table, *cells: str | Text, style: str = "") -> None:
    """Add a row to a table."""
    into.add_row(*(text(cell) if isinstance(cell, str) else cell for cell in cells), style=style)


def print_table(made: Table) -> None:
    """Print a table."""
    _console().print(made)


def line(*parts: str | Text) -> None:
    """Print a line."""
    _console().print(Text.assemble(*(text(part) if isinstance(part, str) else part for part in parts)), soft_wrap=True)


def mark(ok: bool) -> Text:
    """Return ok or no, in its color."""
    return text("ok", "green") if ok else text("no", "red")
