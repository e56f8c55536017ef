"""Reporting progress: what the kit calls, and the command line implements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

Announce = Callable[[str], None]
"""Is told, in a few words, what is being done now."""
Confirm = Callable[[str], None]
"""Asks a question; raises when the answer is no."""


class Progress(Protocol):
    """Who is told how an operation goes."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def announce(self, text: str) -> None:
        """What is being done now, in a few words; the next one takes its place."""

    def planned(self, host: str, changes: Iterable[str]) -> None:
        """What an operation is about to change on a host."""

    def step(self, host: str, name: str) -> None:
        """A step begins."""

    def done(self, host: str, name: str, seconds: float, said: str) -> None:
        """A step ended well."""

    def failed(self, host: str, name: str, said: str) -> None:
        """A step failed."""

    def sent(self, host: str, sent: int, total: int) -> None:
        """So many of so many bytes are on the host."""
