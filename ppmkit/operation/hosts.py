"""What deploy, rollback, resume and abort have in common: who runs them, on which hosts, from which files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from ppmkit.errors import PpmctlError
from ppmkit.host.host import Host
from ppmkit.host.session import who
from ppmkit.local.scratch import scratch
from ppmkit.operation import publish
from ppmkit.operation.findings import Findings
from ppmkit.operation.transaction import NEW, OLD, Operation
from ppmkit.release import render
from ppmkit.release.records import compose_text

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.operation.journal import Intent, Unfinished
    from ppmkit.orchestrator.stack import Stack
    from ppmkit.plan.drift import Drift
    from ppmkit.progress import Progress
    from ppmkit.secrets.manage import Secret

Done = TypeVar("Done")


@contextmanager
def opened(
    host: Host,
    intent: Intent,
    stack: Stack,
    progress: Progress,
    *,
    resumed: Unfinished | None = None,
    secrets: Mapping[str, Secret] | None = None,
    drift: tuple[Drift, ...] = (),
    cancelled: threading.Event | None = None,
) -> Iterator[Operation]:
    """Yield an operation on the host, with the Compose files of the release to come and of the one that serves.

    A deploy that begins renders its files; every other operation takes those on the host, as they ran.
    """
    with scratch() as files:
        lies_there = intent.kind != "deploy" or resumed is not None
        text = compose_text(host, intent.release.id) if lies_there else None
        text = text or render.compose(host.environment, intent.release)
        (files / NEW).write_text(text, encoding="utf-8")
        if intent.previous:
            (files / OLD).write_text(compose_text(host, intent.previous) or text, encoding="utf-8")
        try:
            yield Operation(
                host=host,
                intent=intent,
                stack=stack,
                files=files,
                who=who(),
                progress=progress,
                secrets=dict(secrets or {}),
                drift=drift,
                resumed=resumed,
                findings=Findings.read(resumed.facts) if resumed else Findings(),
                cancelled=cancelled or threading.Event(),
            )
        except BaseException:
            with suppress(PpmctlError):  # what stopped the operation is what counts
                publish.publish(host)
            raise
        publish.publish(host)


def on_each_host(
    environment: Environment, parallel: int, act: Callable[[HostAddress, threading.Event], Done]
) -> list[Done]:
    """Act on every host, so many at a time; return what came of it, in their order.

    After the first failure no further host begins. Its error is raised, and says how the others are. Ctrl-C sets
    the event, waits until those that have begun are undone, and goes on as KeyboardInterrupt.
    """
    if parallel == 1 or len(environment.hosts) == 1:
        return _one_after_another(environment, act)
    cancelled = threading.Event()
    stopped = threading.Event()

    def begin(address: HostAddress) -> Done | None:
        if stopped.is_set():
            return None
        try:
            return act(address, cancelled)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(max_workers=parallel) as pool:
        jobs = [pool.submit(begin, address) for address in environment.hosts]
        try:
            wait(jobs)
        except KeyboardInterrupt:
            stopped.set()
            cancelled.set()
            wait(jobs)
            raise
    _raise_first(environment, jobs)
    return [done for job in jobs if (done := job.result()) is not None]


def _one_after_another(environment: Environment, act: Callable[[HostAddress, threading.Event], Done]) -> list[Done]:
    """As on_each_host, in this thread: so that Ctrl-C stops what is being waited for, too."""
    done: list[Done] = []
    for address in environment.hosts:
        try:
            done.append(act(address, threading.Event()))
        except PpmctlError as error:
            finished = [host.name for host in environment.hosts[: len(done)]]
            waiting = [host.name for host in environment.hosts[len(done) + 1 :]]
            raise error.with_context(error.message + _others([], finished, waiting)) from error
    return done


def _raise_first(environment: Environment, jobs: list[Future[Done | None]]) -> None:
    errors = [error for job in jobs if (error := job.exception()) is not None]
    if not errors:
        return
    pairs = list(zip(environment.hosts, jobs, strict=True))
    finished = [host.name for host, job in pairs if job.exception() is None and job.result() is not None]
    waiting = [host.name for host, job in pairs if job.exception() is None and job.result() is None]
    first = errors[0]
    if not isinstance(first, PpmctlError):
        raise first
    failed = [str(error) or type(error).__name__ for error in errors[1:]]
    raise first.with_context(first.message + _others(failed, finished, waiting)) from first


def _others(failed: list[str], finished: list[str], waiting: list[str]) -> str:
    """Return what to add to the message of the first host that failed: how the other hosts are."""
    parts = {"Failed too": "; ".join(failed), "Done before": ", ".join(finished), "Not begun": ", ".join(waiting)}
    return "".join(f". {what}: {which}" for what, which in parts.items() if which)
