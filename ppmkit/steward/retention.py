"""Which backups stay and which go, and why. Pure: no file, no clock.

`keep-last`, `-hourly`, `-daily`, `-weekly`, `-monthly` and `-yearly` mean what they mean to restic: of each of the last
N hours (days, …) that have a backup, its newest one stays; hours without one do not count
(https://restic.readthedocs.io/en/stable/060_forget.html). Times are UTC, so no clock change makes an hour twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime


@dataclass(frozen=True)
class Policy:
    """How many of each stay; what is usual is in the configuration."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    safety: int = 0
    """Of those that a restore made of what it replaced; they count for nothing else."""
    migration: int = 0
    """Of those that a change of the schema made before; the same."""


@dataclass(frozen=True)
class Item:
    """What is to be judged."""

    id: str
    created: datetime
    """With a time zone."""
    verified: bool = True
    pinned: bool = False
    kind: str = "manual"


@dataclass(frozen=True)
class Verdict:
    """What becomes of one backup."""

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
"""Kinds that are counted by themselves."""
assert {"last", *_PERIODS, *APART} == {field.name for field in fields(Policy)}


def judge(items: Sequence[Item], policy: Policy) -> list[Verdict]:
    """Given every backup, return what becomes of each, newest first.

    Whatever the policy says, a pinned one stays, and so does the newest that was verified.
    """
    newest_first = sorted(items, key=lambda item: (item.created, item.id), reverse=True)
    reasons: dict[str, list[str]] = {item.id: [] for item in items}
    for item in newest_first:
        if item.pinned:
            reasons[item.id].append("pinned")
    for kind in APART:
        wanted: int = getattr(policy, kind)
        for number, item in enumerate([item for item in newest_first if item.kind == kind][:wanted], 1):
            reasons[item.id].append(f"{kind} {number} of {wanted}")
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
    newest_first: Sequence[Item], period: Callable[[datetime], str], wanted: int
) -> list[tuple[str, str]]:
    """Return (period, id of its newest backup) of the last ``wanted`` periods that have one."""
    found: dict[str, str] = {}
    for item in newest_first:
        label = period(item.created)
        if label not in found and len(found) < wanted:
            found[label] = item.id
    return list(found.items())


def _verdict(id: str, reasons: Sequence[str]) -> Verdict:
    return Verdict(id=id, keep=bool(reasons), why=", ".join(reasons) or "no rule keeps it")
