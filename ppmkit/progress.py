"""Interface for progress reports. The kit calls it; the command line implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

Announce = Callable[[str], None]
"""Takes a short description of the current activity."""
Confirm = Callable[[str], None]
"""Asks a question; raises if the answer is no."""


class Progress(Protocol):
    """Receiver of an operation's progress."""

    def say(self, text: str) -> None:
        """Print a permanent line."""

    def announce(self, text: str) -> None:
        """Show the current activity in a few words. The next call replaces it."""

    def planned(self, host: str, changes: Iterable[str]) -> None:
        """Show what an operation is about to change on a host."""

    def step(self, host: str, name: str) -> None:
        """Report that a step begins."""

    def done(self, host: str, name: str, seconds: float, said: str) -> None:
        """Report that a step succeeded."""

    def failed(self, host: str, name: str, said: str) -> None:
        """Report that a step failed."""

    def sent(self, host: str, sent: int, total: int) -> None:
        """Report how many bytes are on the host, out of the total."""
