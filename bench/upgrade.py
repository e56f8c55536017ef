"""An upgrade under load: ppmctl compared with the usual tools, on the same host, with the same images and load.

    python -m bench.upgrade

It boots a throwaway host, deploys to it, and removes it at the end. The change is one line of the api's code; the image
is built before the timing starts. ppmctl deploys with its defaults. The peers are the same stack in one color with a
Traefik in front, upgraded as their manuals say: `docker compose up -d`, and Docker Swarm's rolling update with `order:
start-first`. The last row is a control without an upgrade: it starts as many idle containers as an upgrade creates, one
after another. No blue/green deployment on this machine can cost less than that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from bench import POLITE
from bench.compose import ComposeStack, compose_stack
from bench.ledger import Report, load, lost
from bench.site import address, changed_checkout, ppmctl, site
from bench.swarm import SwarmStack, swarm_stack
from ppmkit.config.environment import Environment
from ppmkit.host.host import Host
from ppmkit.orchestrator.stack import inspect
from ppmkit.paths import KIT
from ppmkit.release.model import Release
from ppmkit.release.render import IDLE_CPU_SHARES

STEADY_SECONDS = 12.0
AFTER_SECONDS = 6.0
FIGURES = ("requests", "failed", "lost", "p99_steady", "p99", "slowed", "longest", "seconds")
HEAD = """\
| | requests | failed | lost writes | p99 before, ms | p99 during, ms | ratio | over 2 x | longest, ms | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
Figures = dict[str, Any]
Peer = ComposeStack | SwarmStack
CREATED = 4
"""The number of containers that an upgrade creates: two of the api, one frontend, one worker."""


def measure(url: str, token: str, rate: float, upgrade: Callable[[], Any]) -> tuple[Figures, Report, Any]:
    """Load the application, upgrade it, and return (figures, report, what the upgrade returned)."""
    with load(url, token, rate=rate) as running:
        time.sleep(STEADY_SECONDS)
        begin = time.monotonic()
        result = upgrade()
        end = time.monotonic()
        time.sleep(AFTER_SECONDS)
        report = running.stop()
    begin, end = begin - report.started, end - report.started
    steady = report.percentile(0.99, 2, begin)
    figures = {
        "requests": report.requests,
        "failed": report.failed,
        "lost": len(asyncio.run(lost(url, token, report.acknowledged))),
        "p99_steady": steady,
        "p99": report.percentile(0.99, begin, end),
        "slowed": sum(latency > 2 * steady for due, latency, _ in report.samples if begin <= due < end),
        "longest": report.longest,
        "seconds": end - begin,
        "end": end,
    }
    return figures, report, result


def run_ppmctl(environment: Environment, rate: float) -> tuple[Figures, Report, dict[str, Any]]:
    """Upgrade the environment with ppmctl, under load."""
    create = ("ppm", "token", "create", f"bench-{time.time_ns()}")
    token = ppmctl(KIT, "exec", "-e", environment.name, "api", "--", *create).strip()
    with changed_checkout() as checkout:
        ppmctl(checkout, "images", "build", "-e", environment.name)
        return measure(
            f"http://{address()}",
            token.splitlines()[-1],
            rate,
            lambda: json.loads(ppmctl(checkout, "deploy", "-e", environment.name, "--json")),
        )


def run_peer(
    environment: Environment, rate: float, peer: Callable[[Host, Release, str], AbstractContextManager[Peer]]
) -> Figures:
    """Upgrade the same stack with a peer, under load."""
    with Host.connect(environment, environment.hosts[0]) as host:
        record = inspect(host).record
        assert record is not None, "deploy first"
        with peer(host, record.release, f"http://{address()}:443") as stack:
            return measure(stack.url, stack.token(), rate, stack.upgrade)[0]


def run_control(environment: Environment, rate: float) -> Figures:
    """Start idle containers on the host, under load."""
    create = ("ppm", "token", "create", f"control-{time.time_ns()}")
    token = ppmctl(KIT, "exec", "-e", environment.name, "api", "--", *create).strip()
    with Host.connect(environment, environment.hosts[0]) as host:
        record = inspect(host).record
        assert record is not None, "deploy first"
        docker = [*POLITE, "docker", "-H", f"unix://{host.docker_socket}"]
        names = [f"idle-{number}" for number in range(CREATED)]

        def start() -> None:
            for name in names:
                run = ["run", "--detach", "--name", name, "--cpu-shares", str(IDLE_CPU_SHARES), "--entrypoint", "sleep"]
                subprocess.run([*docker, *run, record.release.images.frontend, "600"], check=True, capture_output=True)

        try:
            return measure(f"http://{address()}", token.splitlines()[-1], rate, start)[0]
        finally:
            subprocess.run([*docker, "rm", "--force", *names], check=False, capture_output=True)


def medians(runs: list[Figures]) -> Figures:
    """Return the median of each figure; for figures that should be zero or small, the worst."""
    worst = {"failed", "lost", "longest"}
    return {key: (max if key in worst else statistics.median)(run[key] for run in runs) for key in FIGURES}


def spans(figures: Figures, deploy: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return {step of a deploy: (start, end)}; the last step ends with the deploy."""
    times = {}
    begin = figures["end"] - sum(step["seconds"] for step in deploy["steps"])
    for step in deploy["steps"]:
        times[step["name"]] = (begin, begin + step["seconds"])
        begin += step["seconds"]
    return times


def by_step(figures: Figures, report: Report, deploy: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Return {step of a deploy: (seconds, p99 of reads, p99 of writes)}."""
    steps = {}
    for name, (begin, end) in spans(figures, deploy).items():
        reads, writes = (report.percentile(0.99, begin, end, (method,)) for method in ("GET", "POST"))
        steps[name] = (end - begin, reads, writes)
    return steps


def busy_p99(figures: Figures, report: Report, deploy: dict[str, Any]) -> float:
    """Return a deploy's p99 in ms without its bake, which only waits."""
    begin, end = spans(figures, deploy)["bake"]
    outside = (figures["end"] - figures["seconds"], begin), (end, figures["end"])
    samples = [sample for sample in report.samples if any(first <= sample[0] < last for first, last in outside)]
    return Report(samples=samples).percentile(0.99)


def row(name: str, runs: list[Figures]) -> str:
    """Return a row of the table."""
    values = medians(runs)
    return (
        f"| {name} | {values['requests']:,.0f} | {values['failed']:,} | {values['lost']} | {values['p99_steady']:.0f} "
        f"| {values['p99']:.0f} | {values['p99'] / values['p99_steady']:.1f} | {values['slowed']:,.0f} "
        f"| {values['longest']:,.0f} | {values['seconds']:.1f} |"
    )


def print_remarks(reports: list[Report]) -> None:
    """Print the client's other results."""
    slow, reopened = sum(report.slow for report in reports), sum(report.reconnects for report in reports)
    print(f"Slow uploads: {slow}; streams that the server ended and the client reopened: {reopened}")
    if not all(report.urgent for report in reports):
        print("The client had to share the CPU. Run as root to measure only the application's latencies.")
    for failure in (failure for report in reports for failure in report.failures):
        print(failure)


def main() -> None:
    """Print the table and the durations of a deploy's steps, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="number of runs of each; figures are medians (default 3)")
    parser.add_argument("--rate", type=float, default=500, help="requests per second (default 500)")
    options = parser.parse_args()
    ours: list[Figures] = []
    composed: list[Figures] = []
    swarmed: list[Figures] = []
    control: list[Figures] = []
    deploys: list[dict[str, Any]] = []
    reports: list[Report] = []

    def keep(runs: list[Figures], figures: Figures) -> None:
        """Keep a run's figures, and print them at once: the remaining runs take a while, and may fail."""
        runs.append(figures)
        print(row("", [figures]), file=sys.stderr)

    with site(bake=None) as environment:
        for number in range(options.runs):
            print(f"run {number + 1} of {options.runs}", file=sys.stderr)
            figures, report, deploy = run_ppmctl(environment, options.rate)
            keep(ours, figures)
            deploys.append(deploy)
            reports.append(report)
            keep(composed, run_peer(environment, options.rate, compose_stack))
            keep(control, run_control(environment, options.rate))
        for _ in range(
            options.runs
        ):  # last: it needs an engine without live-restore, and restarting it ends containers
            keep(swarmed, run_peer(environment, options.rate, swarm_stack))
    print(HEAD)
    print(row("`ppmctl deploy`", ours))
    print(row("`docker compose up -d`", composed))
    print(row("Docker Swarm, `start-first`", swarmed))
    print(row(f"control: {CREATED} idle containers", control))
    print(f"\nBytes sent: {max(deploy['bytes_sent'] for deploy in deploys):,}.\n")
    print("| step of `ppmctl deploy` | seconds | p99 of reads, ms | p99 of writes, ms |")
    print("| --- | --- | --- | --- |")
    runs = list(zip(ours, reports, deploys, strict=True))
    steps = [by_step(*run) for run in runs]
    for name in steps[0]:
        columns = zip(*(run[name] for run in steps), strict=True)
        seconds, reads, writes = (statistics.median(column) for column in columns)
        print(f"| {name} | {seconds:.1f} | {reads:.0f} | {writes:.0f} |")
    busy = statistics.median(busy_p99(*run) for run in runs)
    print(f"\np99 of the deploy without its bake: {busy:.0f} ms, {busy / medians(ours)['p99_steady']:.1f} x before")
    print_remarks(reports)


if __name__ == "__main__":
    main()
