"""Retention rules: decide which backups to keep, and why. Pure: no file, no clock.

`keep-last`, `-hourly`, `-daily`, `-weekly`, `-monthly` and `-yearly` work as in restic: for each of the last N hours
(days, …) that have a backup, the newest one is kept; hours without a backup do not count
(https://restic.readthedocs.io/en/stable/060_forget.html). Times are UTC, so a clock change never repeats an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime


@dataclass(frozen=True)
class Policy:
    """How many backups each rule keeps. The defaults are in the configuration."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    safety: int = 0
    """Backups of databases that a restore replaced; the other rules ignore them."""
    migration: int = 0
    """Backups from before a schema change; the other rules ignore them, too."""


@dataclass(frozen=True)
class Item:
    """The properties of a backup that the rules use."""

    id: str
    created: datetime
    """With a time zone."""
    verified: bool = True
    pinned: bool = False
    kind: str = "manual"


@dataclass(frozen=True)
class Verdict:
    """The decision on one backup."""

    id: str
    keep: bool
    why: str


def _week(time: datetime) -> str:
    year, week, _ = time.isocalendar()
    return f"{year} week {week:02}"


_PERIODS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda time: f"{time:%Y-%m-%d %H}h",
    "daily": lambda time: f"{time:%Y-%m-%d}",
    "weekly": _week,
    "monthly": lambda time: f"{time:%Y-%m}",
    "yearly": lambda time: f"{time:%Y}",
}
APART = ("safety", "migration")
"""Kinds that are counted separately."""
assert {"last", *_PERIODS, *APART} == {field.name for field in fields(Policy)}


def judge(items: Sequence[Item], policy: Policy) -> list[Verdict]:
    """Given all backups, return the decision on each, newest first.

    A pinned backup and the newest verified one stay regardless of the policy.
    """
    newest_first = sorted(items, key=lambda item: (item.created, item.id), reverse=True)
    reasons: dict[str, list[str]] = {item.id: [] for item in items}
    for item in newest_first:
        if item.pinned:
            reasons[item.id].append("pinned")
    for kind in APART:
        limit: int = getattr(policy, kind)
        for number, item in enumerate([item for item in newest_first if item.kind == kind][:limit], 1):
            reasons[item.id].append(f"{kind} {number} of {limit}")
    regular = [item for item in newest_first if item.kind not in APART and not item.pinned]
    for number, item in enumerate(regular[: policy.last], 1):
        reasons[item.id].append(f"last {number} of {policy.last}")
    for name, period in _PERIODS.items():
        for label, id in _newest_of_each(regular, period, getattr(policy, name)):
            reasons[id].append(f"{name} {label}")
    verified = next((item.id for item in newest_first if item.verified), None)
    if verified is not None and not reasons[verified]:
        reasons[verified].append("the last one that is verified")
    return [_verdict(item.id, reasons[item.id]) for item in newest_first]


def _newest_of_each(
    newest_first: Sequence[Item], period: Callable[[datetime], str], limit: int
) -> list[tuple[str, str]]:
    """Return (period, id of its newest backup) for the last ``limit`` periods that have one."""
    newest: dict[str, str] = {}
    for item in newest_first:
        label = period(item.created)
        if label not in newest and len(newest) < limit:
            newest[label] = item.id
    return list(newest.items())


def _verdict(id: str, reasons: Sequence[str]) -> Verdict:
    return Verdict(id=id, keep=bool(reasons), why=", ".join(reasons) or "no rule keeps it")
