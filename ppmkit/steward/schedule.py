"""Schedule of the steward's tasks. Pure: the clock is an argument, and APScheduler's triggers handle the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=1), timedelta(hours=1)
_MOMENT = timedelta(microseconds=1)


def trigger(moments: Sequence[str]) -> BaseTrigger:
    """Given times in UTC, "02:30", "02:30:15" or "sun 04:30", return the trigger that fires at each of them."""
    return OrTrigger([_cron(moment) for moment in moments])


def _cron(moment: str) -> CronTrigger:
    *day, clock = moment.split()
    hour, minute, second = (*clock.split(":"), "0")[:3]
    return CronTrigger(day_of_week=day[0] if day else "*", hour=hour, minute=minute, second=second, timezone=UTC)


def due(trigger: BaseTrigger, last: datetime | None, now: datetime) -> datetime:
    """Return the next run of a task: now, if its trigger fired after its last successful run.

    Several missed runs become one. A last run in the future comes from a clock that was ahead.
    """
    if last is None:
        return now
    fires: datetime = trigger.get_next_fire_time(None, min(last, now) + _MOMENT)
    return max(fires, now)


def retry(trigger: BaseTrigger | None, failures: int, now: datetime) -> datetime:
    """Return when to retry a task after consecutive failures: with exponential backoff, at most an hour later.

    A task with a trigger is retried at its next scheduled time at the latest.
    """
    again = now + min(_FIRST_RETRY * (1 << min(failures - 1, 10)), _LAST_RETRY)
    if trigger is None:
        return again
    fires: datetime = trigger.get_next_fire_time(None, now + _MOMENT)
    return min(again, fires)
