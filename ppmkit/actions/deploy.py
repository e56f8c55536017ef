"""`ppmctl deploy`: build once, then bring each host to the release."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppmkit.actions import recover, rotate
from ppmkit.config.environment import Environment, HostAddress, Model
from ppmkit.host.session import locked
from ppmkit.images import application, sbom
from ppmkit.operation import journal, transaction
from ppmkit.operation.hosts import on_each_host, opened
from ppmkit.operation.journal import Intent
from ppmkit.orchestrator.stack import Stack
from ppmkit.paths import PROJECT
from ppmkit.plan import inspection, saved
from ppmkit.plan.model import EnvironmentPlan, Plan
from ppmkit.progress import Announce
from ppmkit.release import render
from ppmkit.release.model import Release, Source, StepTime
from ppmkit.secrets import manage
from ppmkit.upgrade import preflight
from ppmkit.upgrade.steps import STEPS, STEWARD_STEPS

if TYPE_CHECKING:
    from ppmkit.progress import Progress


@dataclass(frozen=True)
class Options:
    """How users are to be brought to the release."""

    maintenance: bool = False
    """They may be shown a maintenance page for as long as the database changes."""
    parallel: int = 1
    """How many hosts at a time."""
    canary: tuple[int, ...] = ()
    """The shares of requests, in percent, step by step."""
    approved: EnvironmentPlan | None = None
    """A plan of which exactly that is to be done."""


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


def deploy(environment: Environment, progress: Progress, options: Options | None = None) -> Deployment:
    """Bring every host to the release.

    After the first host that fails no other begins. Raises PlanStale when a deploy would do anything else than the plan
    that was approved.
    """
    options = options or Options()
    began = time.monotonic()
    for line in rotate.restart(environment, ended_only=options.approved is not None):
        progress.announce(line)
    release, values = wanted(environment, progress.announce)
    if options.approved:
        saved.confirm(environment, options.approved, release)

    def act(address: HostAddress, cancelled: threading.Event) -> HostDeployment:
        asked = _Asked(release, values, options, cancelled)
        return _deploy_host(environment, address, asked, progress)

    done = on_each_host(environment, options.parallel, act)
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
    options: Options
    cancelled: threading.Event


def _deploy_host(environment: Environment, address: HostAddress, asked: _Asked, progress: Progress) -> HostDeployment:
    began = time.monotonic()
    release, approved = asked.release, asked.options.approved
    with locked(environment, address, "deploy", asked.cancelled) as host:
        recover.clear(host, release, progress)
        found = inspection.study(host, release, render.tree(environment, release))
        stack, plan = found.stack, found.plan
        if approved:  # again, now that nobody else can change the host
            saved.refuse(environment, saved.confirm_host(host, approved, found))
        progress.planned(host.name, plan.changes)
        sent = 0
        steps: tuple[StepTime, ...] = ()
        if plan.needed:
            preflight.check(host, stack)
            bill = sbom.of(environment, release)
            intent = _intent(release, stack, plan, asked)
            with opened(
                host, intent, stack, progress, secrets=asked.secrets, drift=plan.drift, cancelled=asked.cancelled
            ) as operation:
                transaction.run(operation, STEWARD_STEPS if plan.steward_alone else STEPS)
            if bill:
                host.write(environment.directory / "releases" / release.id / sbom.FILE, bill)
            sent, steps = operation.bytes_sent, tuple(operation.times)
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
        maintenance=asked.options.maintenance,
        canary=asked.options.canary,
    )
