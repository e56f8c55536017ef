"""When the steward's tasks are due. Pure: the clock is an argument, and APScheduler's triggers know the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=1), timedelta(hours=1)
_MOMENT = timedelta(microseconds=1)


def trigger(moments: Sequence[str]) -> BaseTrigger:
    """Given moments in UTC, "02:30", "02:30:15" or "sun 04:30", return the trigger that fires at each of them."""
    return OrTrigger([_cron(moment) for moment in moments])


def _cron(moment: str) -> CronTrigger:
    *day, clock = moment.split()
    hour, minute, second = (*clock.split(":"), "0")[:3]
    return CronTrigger(day_of_week=day[0] if day else "*", hour=hour, minute=minute, second=second, timezone=UTC)


def due(trigger: BaseTrigger, last: datetime | None, now: datetime) -> datetime:
    """Return when a task is to run: now, when a moment of its trigger has passed since it ended well the last time.

    However many were missed, that is one run. A last time that is yet to come is of a clock that ran ahead.
    """
    if last is None:
        return now
    fires: datetime = trigger.get_next_fire_time(None, min(last, now) + _MOMENT)
    return max(fires, now)


def retry(trigger: BaseTrigger | None, failures: int, now: datetime) -> datetime:
    """Return when a task that has failed so many times in a row is tried again: later each time, within the hour.

    One with a trigger is not put off beyond its next moment.
    """
    again = now + min(_FIRST_RETRY * (1 << min(failures - 1, 10)), _LAST_RETRY)
    if trigger is None:
        return again
    fires: datetime = trigger.get_next_fire_time(None, now + _MOMENT)
    return min(again, fires)
