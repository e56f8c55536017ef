"""`ppmctl deploy`: build once, then bring each host to the release, one after another."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deploy import approval, images, inspection, preflight, render, secrets, transaction
from deploy.config import Environment, HostAddress, Model
from deploy.configfile import ROOT
from deploy.host import Host
from deploy.plan import EnvironmentPlan, Plan
from deploy.recipe import Announce
from deploy.release import Release, Source, StepTime
from deploy.upgrade import STEPS, compose_file

if TYPE_CHECKING:
    from deploy.transaction import Watcher

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


def who() -> str:
    """Return user@machine, for locks, journals and records."""
    return f"{getpass.getuser()}@{platform.node()}"


def source() -> Source:
    """Return the commit of the checkout, and whether it has changes beyond it."""

    def git(*argv: str) -> str | None:
        done = subprocess.run(["git", "-C", str(ROOT), *argv], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    return Source(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))


def wanted(environment: Environment, announce: Announce) -> tuple[Release, dict[str, secrets.Secret]]:
    """Build what the release needs and return it with its secrets. Secrets first: they fail at once."""
    values = secrets.read(environment)
    built = images.build(environment, announce)
    versions = {name: secret.version for name, secret in values.items()}
    return render.release(environment, built, versions), values


def deploy(
    environment: Environment,
    watcher: Watcher,
    announce: Announce,
    planned: Planned,
    approved: EnvironmentPlan | None = None,
) -> Deployment:
    """Bring every host to the release. The first host that fails stops it; those before it are upgraded.

    With a plan that was approved, exactly that is done: raises PlanStale when a deploy would do anything else.
    """
    began = time.monotonic()
    release, values = wanted(environment, announce)
    if approved:
        approval.confirm(environment, approved, release)
    done = [
        _deploy_host(environment, address, release, values, watcher, planned, approved) for address in environment.hosts
    ]
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


def _deploy_host(
    environment: Environment,
    address: HostAddress,
    release: Release,
    values: dict[str, secrets.Secret],
    watcher: Watcher,
    planned: Planned,
    approved: EnvironmentPlan | None,
) -> HostDeployment:
    began = time.monotonic()
    owner = {
        "who": who(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"ppmctl deploy -e {environment.name}",
        "process": str(os.getpid()),
    }
    with Host.connect(environment, address) as host, host.lock(owner):
        found = inspection.study(host, release, render.tree(environment, release))
        stack, plan = found.stack, found.plan
        if approved:  # again, now that nobody else can change the host
            approval.refuse(environment, approval.confirm_host(host, approved, found))
        planned(host.name, plan)
        sent = 0
        steps: tuple[StepTime, ...] = ()
        if plan.needed:
            preflight.check(host, stack)
            with compose_file(environment, release) as file:
                job = transaction.Upgrade(
                    host=host,
                    release=release,
                    stack=stack,
                    plan=plan,
                    secrets=values,
                    source=source(),
                    who=who(),
                    watcher=watcher,
                    compose=host.compose(file),
                )
                transaction.run(job, STEPS)
            sent, steps = job.bytes_sent, tuple(job.times)
        return HostDeployment(
            name=host.name,
            previous=stack.record.id if stack.record else None,
            changed=plan.needed,
            bytes_sent=sent,
            seconds=round(time.monotonic() - began, 3),
            steps=steps,
        )
