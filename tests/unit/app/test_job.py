"""A job: once in each interval, by the worker that has its lease."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from app.database import Database
from app.models import JobRun, Lease, now
from app.worker.job import EPOCH, Job, Run, Runner
from app.worker.lease import Leases
from app.worker.run import reschedule
from tests.support.processes import threads
from tests.unit.app.conftest import until

HOUR = timedelta(hours=1)
Work = Callable[[Run], str | None]


def runner(database: Database, worker: str, work: Work = lambda _: "ok", every: timedelta = HOUR) -> Runner:
    return Runner(Job("tick", every, work), Leases(database, worker), "r1")


def runs(database: Database) -> list[JobRun]:
    with database.read() as session:
        return list(session.scalars(select(JobRun).order_by(JobRun.id)))


def let_leases_run_out(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Lease).values(expires_at=now() - timedelta(seconds=1)))


def forget(database: Database) -> None:
    """Move the runs to the interval before."""
    with database.write() as session:
        session.execute(update(JobRun).values(started_at=now() - HOUR, finished_at=now() - HOUR))


@given(
    st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=2)),
    st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(UTC)),
)
def test_every_time_lies_in_one_interval(every: timedelta, time: datetime) -> None:
    slot = Job("tick", every, lambda _: None).slot(time)

    assert slot <= time < slot + every
    assert (slot - EPOCH) % every == timedelta(0)


@pytest.mark.parametrize(("every", "poll"), [(1, 0.25), (2, 0.5), (4, 1), (3600, 1)])
def test_a_short_job_is_asked_for_four_times_an_interval(every: float, poll: float) -> None:
    assert Job("tick", timedelta(seconds=every), lambda _: None).poll == timedelta(seconds=poll)


def test_a_job_is_done_once_in_an_interval_and_recorded(database: Database) -> None:
    mine = runner(database, "w1")

    mine.tick()
    mine.tick()

    [run] = runs(database)
    assert (run.job, run.worker, run.release, run.outcome, run.project_id) == ("tick", "w1", "r1", "ok", None)
    assert run.started_at <= run.finished_at <= now()


def test_a_job_is_done_in_each_interval(database: Database) -> None:
    slots: list[datetime] = []
    short = runner(database, "w1", lambda run: slots.append(run.slot), timedelta(milliseconds=20))

    def three() -> bool:
        short.tick()
        return len(slots) == 3

    until(three)
    assert slots == sorted(set(slots))


def test_a_worker_on_standby_does_nothing_until_the_other_leaves(database: Database) -> None:
    first, second = runner(database, "w1"), runner(database, "w2")
    first.tick()
    forget(database)

    second.tick()
    assert {run.worker for run in runs(database)} == {"w1"}

    first.stop()
    second.tick()
    first.tick()
    assert [run.worker for run in runs(database)] == ["w1", "w2"]


def test_what_the_worker_before_did_in_this_interval_is_not_done_again(database: Database) -> None:
    first, second = runner(database, "w1"), runner(database, "w2")
    first.tick()
    first.stop()

    second.tick()
    second.tick()

    assert [run.worker for run in runs(database)] == ["w1"]
    assert second.leases.holds("tick")


def test_what_the_worker_before_began_and_did_not_end_is_done(database: Database) -> None:
    first, second = runner(database, "w1", lambda _: None), runner(database, "w2")
    first.tick()
    first.stop()

    second.tick()

    assert [run.worker for run in runs(database)] == ["w2"]


def test_the_lease_of_a_run_in_flight_is_given_back_when_it_has_ended(database: Database) -> None:
    began, end = threading.Event(), threading.Event()

    def work(run: Run) -> str:
        began.set()
        assert end.wait(10)
        return "ok" if run.stopping.is_set() and not run.may_go_on() else "was not told"

    first, second = runner(database, "w1", work), runner(database, "w2")
    with threads() as pool:
        running = pool.submit(first.tick)
        assert began.wait(10)
        first.stop()
        assert not first.idle.is_set()
        second.tick()
        assert not second.leases.holds("tick")
        end.set()
        running.result(10)

    assert first.idle.is_set()
    assert [(run.worker, run.outcome) for run in runs(database)] == [("w1", "ok")]
    second.tick()
    assert second.leases.holds("tick")


def test_a_worker_that_lost_its_lease_meanwhile_writes_nothing(database: Database) -> None:
    second = runner(database, "w2")

    def work(_: Run) -> str:
        let_leases_run_out(database)
        second.tick()
        second.stop()  # and even when the other has left again
        return "late"

    runner(database, "w1", work).tick()

    assert [(run.worker, run.outcome) for run in runs(database)] == [("w2", "ok")]


def test_a_job_that_fails_is_recorded_and_tried_again_in_the_next_interval(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def work(_: Run) -> str:
        raise ValueError("broken")

    failing = runner(database, "w1", work)
    failing.tick()
    failing.tick()

    assert [run.outcome for run in runs(database)] == ["failed"]
    assert "tick failed" in caplog.text
    assert "ValueError: broken" in caplog.text


def test_what_a_job_writes_is_undone_when_another_worker_has_taken_over(database: Database) -> None:
    def work(run: Run) -> None:
        let_leases_run_out(database)
        runner(database, "w2", lambda _: None).tick()
        with run.write() as session:
            run.record(session, "never")

    runner(database, "w1", work).tick()

    assert runs(database) == []


def test_a_schedule_goes_on_after_the_clock_was_set_back() -> None:
    came = threading.Event()
    scheduler = BackgroundScheduler(timezone=UTC)
    job = scheduler.add_job(came.set, "interval", seconds=0.1, start_date=EPOCH)
    scheduler.start()
    try:
        job.modify(next_run_time=now() + HOUR)  # what a clock that was set back by an hour leaves
        came.clear()
        reschedule(scheduler)
        assert came.wait(5)
    finally:
        scheduler.shutdown()
