"""`ppmctl deploy`: build once, then deploy the release to each host."""

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
    """Options of a deploy."""

    maintenance: bool = False
    """Show users a maintenance page while the database changes, if needed."""
    parallel: int = 1
    """Number of hosts that are deployed at the same time."""
    canary: tuple[int, ...] = ()
    """The shares of requests, in percent, step by step."""
    approved: EnvironmentPlan | None = None
    """A saved plan; the deploy does exactly what it lists."""


class HostDeployment(Model):
    """The result on one host."""

    name: str
    previous: str | None
    changed: bool
    bytes_sent: int
    seconds: float
    steps: tuple[StepTime, ...]


class Deployment(Model):
    """The result on all hosts; output of `deploy --json`."""

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
    """Return the checkout's commit, and whether there are uncommitted changes."""

    def git(*argv: str) -> str | None:
        completed = subprocess.run(
            ["git", "-C", str(PROJECT), *argv], capture_output=True, encoding="utf-8", check=False
        )
        return completed.stdout.strip() if completed.returncode == 0 else None

    return Source(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))


def build_release(environment: Environment, announce: Announce) -> tuple[Release, dict[str, manage.Secret]]:
    """Build the release and return it with its secrets. Secrets are read first, so that their errors come at once."""
    values = manage.read(environment)
    built = application.build(environment, announce)
    versions = {name: secret.version for name, secret in values.items()}
    return render.release(environment, built, versions), values


def deploy(environment: Environment, progress: Progress, options: Options | None = None) -> Deployment:
    """Deploy the release to every host.

    After the first failure, no further host starts. Raises PlanStale when the deploy would differ from the approved
    plan.
    """
    options = options or Options()
    began = time.monotonic()
    for line in rotate.restart(environment, ended_only=options.approved is not None):
        progress.announce(line)
    release, values = build_release(environment, progress.announce)
    if options.approved:
        saved.confirm(environment, options.approved, release)

    def act(address: HostAddress, cancelled: threading.Event) -> HostDeployment:
        request = _Request(release, values, options, cancelled)
        return _deploy_host(environment, address, request, progress)

    deployments = on_each_host(environment, options.parallel, act)
    return Deployment(
        environment=environment.name,
        release=release.id,
        url=environment.url,
        changed=any(host.changed for host in deployments),
        previous=deployments[0].previous,
        bytes_sent=sum(host.bytes_sent for host in deployments),
        seconds=round(time.monotonic() - began, 3),
        steps=tuple(step for host in deployments for step in host.steps),
        hosts=tuple(deployments),
    )


@dataclass(frozen=True)
class _Request:
    """The same request for every host."""

    release: Release
    secrets: dict[str, manage.Secret]
    options: Options
    cancelled: threading.Event


def _deploy_host(
    environment: Environment, address: HostAddress, request: _Request, progress: Progress
) -> HostDeployment:
    began = time.monotonic()
    release, approved = request.release, request.options.approved
    with locked(environment, address, "deploy", request.cancelled) as host:
        recover.end_unfinished(host, release, progress)
        state = inspection.inspect_host(host, release, render.tree(environment, release))
        stack, plan = state.stack, state.plan
        if approved:  # checked again, now that the lock keeps other operations out
            saved.refuse(environment, saved.confirm_host(host, approved, state))
        progress.planned(host.name, plan.changes)
        sent = 0
        steps: tuple[StepTime, ...] = ()
        if plan.needed:
            preflight.check(host, stack)
            bill = sbom.of(environment, release)
            intent = _intent(release, stack, plan, request)
            with opened(
                host, intent, stack, progress, secrets=request.secrets, drift=plan.drift, cancelled=request.cancelled
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


def _intent(release: Release, stack: Stack, plan: Plan, request: _Request) -> Intent:
    """Return the deploy's intent, for the journal."""
    serving = stack.record
    return Intent(
        operation=journal.new_operation(),
        kind="deploy",
        release=release,
        target=plan.target,
        live=stack.live,
        previous=serving.id if serving else None,
        back=None if serving is None else serving.previous if serving.id == release.id else serving.id,
        source=source(),
        maintenance=request.options.maintenance,
        canary=request.options.canary,
    )
