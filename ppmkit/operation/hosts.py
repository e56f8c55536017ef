"""Shared parts of deploy, rollback, resume and abort: the operator, the hosts and the Compose files."""

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

Result = TypeVar("Result")


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
    """Yield an operation on the host, with the Compose files of the new release and of the one that serves.

    A new deploy renders its files; every other operation uses the files on the host, unchanged.
    """
    with scratch() as files:
        is_on_host = intent.kind != "deploy" or resumed is not None
        text = compose_text(host, intent.release.id) if is_on_host else None
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
            with suppress(PpmctlError):  # the original error matters more
                publish.publish(host)
            raise
        publish.publish(host)


def on_each_host(
    environment: Environment, parallel: int, act: Callable[[HostAddress, threading.Event], Result]
) -> list[Result]:
    """Run ``act`` on every host, ``parallel`` at a time; return the results in the hosts' order.

    After the first failure, no further host starts. Its error is raised, with the state of the other hosts. Ctrl-C sets
    the event, waits until the hosts in progress are undone, and raises KeyboardInterrupt.
    """
    if parallel == 1 or len(environment.hosts) == 1:
        return _one_after_another(environment, act)
    cancelled = threading.Event()
    stopped = threading.Event()

    def begin(address: HostAddress) -> Result | None:
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
    return [result for job in jobs if (result := job.result()) is not None]


def _one_after_another(environment: Environment, act: Callable[[HostAddress, threading.Event], Result]) -> list[Result]:
    """Like on_each_host, but in this thread, so that Ctrl-C interrupts what ``act`` waits for."""
    results: list[Result] = []
    for address in environment.hosts:
        try:
            results.append(act(address, threading.Event()))
        except PpmctlError as error:
            finished = [host.name for host in environment.hosts[: len(results)]]
            waiting = [host.name for host in environment.hosts[len(results) + 1 :]]
            raise error.with_context(error.message + _others([], finished, waiting)) from error
    return results


def _raise_first(environment: Environment, jobs: list[Future[Result | None]]) -> None:
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
    """Return the suffix for the first failed host's message: the state of the other hosts."""
    parts = {"Also failed": "; ".join(failed), "Done before": ", ".join(finished), "Not started": ", ".join(waiting)}
    return "".join(f". {state}: {hosts}" for state, hosts in parts.items() if hosts)
