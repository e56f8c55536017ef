"""`ppmctl backup moments`: the recovery windows, that is, the times to which `restore --at` can restore."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ppmkit.backup.client import StewardClient, steward_client
from ppmkit.config.environment import Model
from ppmkit.errors import UsageError
from ppmkit.host.session import read_only

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress


class RecoveryWindow(Model):
    """Any time from ``first`` to ``last`` can be restored; `backup moments --json` prints one object per window."""

    host: str
    first: datetime
    last: datetime

    @property
    def text(self) -> str:
        """The window as text."""
        return f"from {formatted(self.first)} to {formatted(self.last)}"


def recovery_windows(environment: Environment, address: HostAddress) -> list[RecoveryWindow]:
    """Return the recovery windows of a host, oldest first; takes no lock."""
    with read_only(environment, address) as host, steward_client(host) as steward:
        return shipped_windows(steward)


def shipped_windows(steward: StewardClient) -> list[RecoveryWindow]:
    """Return the recovery windows of the steward's host, oldest first."""
    return [RecoveryWindow(host=steward.host.name, **window) for window in steward.ask("moments")]


def refuse_unless_recoverable(windows: Sequence[RecoveryWindow], moment: datetime) -> None:
    """Raise UsageError, with the recovery windows, when a time is in none of them."""
    if any(window.first <= moment <= window.last for window in windows):
        return
    available = "; ".join(window.text for window in windows)
    raise UsageError(
        f"{formatted(moment)} cannot be restored; available: {available or 'nothing, no change was shipped'}",
        next="Choose an available time, or a backup from `ppmctl backup list`"
        if available
        else "See backup.continuous",
    )


def parse(text: str) -> datetime:
    """Parse a time in ISO 8601; without an offset it is UTC. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix("UTC").strip())
    except ValueError:
        again = 'Write it as "2026-03-01 14:05:09" (UTC), or append an offset such as +02:00'
        raise UsageError(f"not a time: {text!r}", next=again) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def formatted(moment: datetime) -> str:
    """Return a time in the format that `restore --at` accepts."""
    return f"{moment.astimezone(UTC):%F %T.%f}"[:-3] + " UTC"
