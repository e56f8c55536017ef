"""Wanted against found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ppmkit.actions.status import verdict
from ppmkit.config.environment import Environment
from ppmkit.orchestrator.stack import Found, Stack
from ppmkit.plan import diff
from ppmkit.plan.decide import PROXY_REPLACED, decide
from ppmkit.release import prune, render
from ppmkit.release.model import Color, Images, Record, Release, Source


@pytest.fixture
def release(environment: Environment, images: Images) -> Release:
    return render.release(environment, images, {"session_secret": "0a1b2c3d4e5f"})


def record_of(release: Release, previous: str | None = None, minute: int = 0) -> Record:
    return Record(
        release=release,
        color="blue",
        previous=previous,
        source=Source(commit=None, dirty=False),
        who="me",
        when=datetime(2026, 1, 1, 0, minute, tzinfo=UTC),
        schema_before=None,
        schema_after=None,
        revisions=(),
        snapshot=None,
        bytes_sent=0,
        steps=(),
    )


def found(role: str, color: Color | None, release: str | None, n: int = 1, **changes: Any) -> Found:
    values = {
        "id": f"{role}-{color}-{n}",
        "name": f"ppm-test-{role}-{color}-{n}",
        "role": role,
        "color": color,
        "release": release,
        "status": "running",
        "health": "healthy",
        "exit_code": 0,
        "oom_killed": False,
        "started": None,
    }
    return Found.model_validate(values | changes)


def serving(release: Release, **changes: Any) -> Stack:
    containers = (
        found("reverse-proxy", None, None),
        found("api", "blue", release.id, 1),
        found("api", "blue", release.id, 2),
        found("frontend", "blue", release.id),
        found("steward", None, None),
        found("worker", "blue", release.id),
    )
    return Stack(containers=containers, live="blue", record=record_of(release)).model_copy(update=changes)


def test_an_empty_host_gets_blue(environment: Environment, release: Release) -> None:
    plan = decide(environment, release, Stack(containers=(), live=None, record=None))
    assert plan.target == "blue"
    assert plan.needed


def test_a_release_that_serves_needs_nothing(environment: Environment, release: Release) -> None:
    assert not decide(environment, release, serving(release)).needed


def test_other_settings_of_backups_are_for_the_steward_alone(environment: Environment, release: Release) -> None:
    lines = diff.settings('{"at": []}', render.steward(environment))
    alone, stopped = (
        decide(environment, release, stack, settings=lines)
        for stack in (serving(release), serving(release, containers=serving(release).containers[1:]))
    )

    assert diff.settings(render.steward(environment), render.steward(environment)) == ()
    assert (alone.target, alone.changes, alone.steward_alone) == ("blue", lines, True)
    assert (stopped.changes, stopped.steward_alone) == (("reverse-proxy is not running", *lines), False)
    assert not decide(environment, release, serving(release)).steward_alone


def test_another_release_goes_to_the_idle_color_and_says_what_changed(
    environment: Environment, release: Release, images: Images
) -> None:
    newer = render.release(environment, images.model_copy(update={"api": images.frontend}), release.secrets)
    plan = decide(environment, newer, serving(release))
    assert plan.target == "green"
    assert plan.changes[0] == f"release {release.id} → {newer.id}"
    assert plan.changes[1].startswith("api image: ")
    assert len(plan.changes) == 2


def test_that_the_proxy_is_replaced_is_said_with_what_users_notice(environment: Environment, release: Release) -> None:
    newer = release.model_copy(update={"id": "ffffffffffff"})

    plan = decide(environment, newer, serving(release), replaces_proxy=True)

    assert PROXY_REPLACED in plan.changes
    assert "open connections are cut" in PROXY_REPLACED
    assert PROXY_REPLACED not in decide(environment, newer, serving(release)).changes


def test_another_digest_of_the_proxy_alone_is_no_reason_for_a_deploy(
    environment: Environment, release: Release
) -> None:
    """Another version of Compose on this machine is enough for it."""
    assert not decide(environment, release, serving(release), replaces_proxy=True).needed
    unrecorded = decide(environment, release, serving(release, record=None), replaces_proxy=True)
    assert unrecorded.changes[-1] == PROXY_REPLACED


def test_an_upgrade_cut_short_after_its_switch_is_finished_not_turned_round(
    environment: Environment, release: Release
) -> None:
    half = serving(release)
    half = half.model_copy(
        update={"containers": (*half.containers, found("worker", "green", "old"), found("api", "green", "old"))}
    )
    plan = decide(environment, release, half)
    assert plan.target == "blue"
    assert plan.changes == ("api-green is still running", "worker-green is still running")


def test_a_container_that_does_not_run_is_started_again(environment: Environment, release: Release) -> None:
    stack = serving(release)
    stopped = tuple(
        c.model_copy(update={"status": "exited"}) if c.name.endswith("api-blue-2") else c for c in stack.containers
    )
    plan = decide(environment, release, stack.model_copy(update={"containers": stopped}))
    assert plan.changes == ("api-blue: 1 of 2 running",)


def test_a_release_that_serves_but_is_not_recorded_is_recorded(environment: Environment, release: Release) -> None:
    plan = decide(environment, release, serving(release, record=None))
    assert plan.changes == (f"release {release.id} serves but is not recorded",)


def test_status_is_well_only_when_all_runs(environment: Environment, release: Release) -> None:
    assert all(check.ok for check in verdict(environment, serving(release)))
    ill = serving(release, containers=serving(release).containers[:-1])
    assert [check.name for check in verdict(environment, ill) if not check.ok] == ["worker-blue"]


def test_pruning_keeps_the_newest_and_the_rollback_target(release: Release) -> None:
    releases = [release.model_copy(update={"id": f"{n:012d}"}) for n in range(6)]
    records = [record_of(r, minute=59 - n) for n, r in enumerate(releases)]
    records[0] = records[0].model_copy(update={"previous": records[4].id})
    assert [r.id for r in prune.obsolete(records, keep=2)] == [r.id for r in (*records[2:4], records[5])]


def test_pruning_an_empty_host_removes_nothing() -> None:
    assert prune.obsolete([], keep=2) == []
