"""`ppmctl deploy`: build once, then bring each host to the release."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppmkit.actions import recover, rotate
from ppmkit.config.environment import Environment, HostAddress, Model
from ppmkit.images import application, sbom
from ppmkit.images.recipe import Announce
from ppmkit.operation import journal, transaction
from ppmkit.operation.hosts import locked, on_each_host, opened
from ppmkit.operation.journal import Intent
from ppmkit.orchestrator.stack import Stack
from ppmkit.paths import PROJECT
from ppmkit.plan import inspection, saved
from ppmkit.plan.decide import EnvironmentPlan, Plan
from ppmkit.release import render
from ppmkit.release.model import Release, Source, StepTime
from ppmkit.secrets import manage
from ppmkit.upgrade import preflight
from ppmkit.upgrade.rollout import STEPS, STEWARD_STEPS

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Watcher

Planned = Callable[[str, Plan], None]


class HostDeployment(Model):
    """How it went on one host."""

    name: str
    previous: str | None
    changed: bool
    bytes_sent: int
    seconds: float
    steps: tuple[StepTime, ...]


class Deployment(Model):
    """How it went on all hosts; what `deploy --json` prints."""

    environment: str
    release: str
    url: str
    changed: bool
    previous: str | None
    bytes_sent: int
    seconds: float
    steps: tuple[StepTime, ...]
    hosts: tuple[HostDeployment, ...]


def source() -> Source:
    """Return the commit of the checkout, and whether it has changes beyond it."""

    def git(*argv: str) -> str | None:
        done = subprocess.run(["git", "-C", str(PROJECT), *argv], capture_output=True, encoding="utf-8", check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    return Source(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))


def wanted(environment: Environment, announce: Announce) -> tuple[Release, dict[str, manage.Secret]]:
    """Build what the release needs and return it with its secrets. Secrets first: they fail at once."""
    values = manage.read(environment)
    built = application.build(environment, announce)
    versions = {name: secret.version for name, secret in values.items()}
    return render.release(environment, built, versions), values


def deploy(
    environment: Environment,
    watcher: Watcher,
    announce: Announce,
    planned: Planned,
    *,
    maintenance: bool = False,
    parallel: int = 1,
    canary: tuple[int, ...] = (),
    approved: EnvironmentPlan | None = None,
) -> Deployment:
    """Bring every host to the release, so many hosts at a time, users by ``canary``'s shares in per cent.

    After the first host that fails no other begins. With a plan that was approved, exactly that is done: raises
    PlanStale when a deploy would do anything else.
    """
    began = time.monotonic()
    for line in rotate.restart(environment, ended_only=approved is not None):
        announce(line)
    release, values = wanted(environment, announce)
    if approved:
        saved.confirm(environment, approved, release)

    def act(address: HostAddress, cancelled: threading.Event) -> HostDeployment:
        ask = _Asked(release, values, maintenance, canary, approved, cancelled)
        return _deploy_host(environment, address, ask, watcher, planned)

    done = on_each_host(environment, parallel, act)
    return Deployment(
        environment=environment.name,
        release=release.id,
        url=environment.url,
        changed=any(host.changed for host in done),
        previous=done[0].previous,
        bytes_sent=sum(host.bytes_sent for host in done),
        seconds=round(time.monotonic() - began, 3),
        steps=tuple(step for host in done for step in host.steps),
        hosts=tuple(done),
    )


@dataclass(frozen=True)
class _Asked:
    """What is asked of every host."""

    release: Release
    secrets: dict[str, manage.Secret]
    maintenance: bool
    canary: tuple[int, ...]
    approved: EnvironmentPlan | None
    cancelled: threading.Event


def _deploy_host(
    environment: Environment, address: HostAddress, asked: _Asked, watcher: Watcher, planned: Planned
) -> HostDeployment:
    began = time.monotonic()
    release = asked.release
    with locked(environment, address, "deploy", asked.cancelled) as host:
        recover.clear(host, release, watcher)
        found = inspection.study(host, release, render.tree(environment, release))
        stack, plan = found.stack, found.plan
        if asked.approved:  # again, now that nobody else can change the host
            saved.refuse(environment, saved.confirm_host(host, asked.approved, found))
        planned(host.name, plan)
        sent = 0
        steps: tuple[StepTime, ...] = ()
        if plan.needed:
            preflight.check(host, stack)
            bill = sbom.of(environment, release)
            intent = _intent(release, stack, plan, asked)
            more = {"secrets": asked.secrets, "drift": plan.drift, "cancelled": asked.cancelled}
            with opened(host, intent, stack, watcher, **more) as upgrade:
                transaction.run(upgrade, STEWARD_STEPS if plan.steward_alone else STEPS)
            if bill:
                host.write(environment.directory / "releases" / release.id / sbom.FILE, bill)
            sent, steps = upgrade.bytes_sent, tuple(upgrade.times)
        return HostDeployment(
            name=host.name,
            previous=stack.record.id if stack.record else None,
            changed=plan.needed,
            bytes_sent=sent,
            seconds=round(time.monotonic() - began, 3),
            steps=steps,
        )


def _intent(release: Release, stack: Stack, plan: Plan, asked: _Asked) -> Intent:
    """Return what the deploy is about, for the journal."""
    was = stack.record
    return Intent(
        operation=journal.new_operation(),
        kind="deploy",
        release=release,
        target=plan.target,
        live=stack.live,
        previous=was.id if was else None,
        back=None if was is None else was.previous if was.id == release.id else was.id,
        source=source(),
        maintenance=asked.maintenance,
        canary=asked.canary,
    )
