"""An upgrade under load: ppmctl against `docker compose up -d`, on the same host, images and load.

    ppmctl up && python -m bench.upgrade

The host is the lab's. The change is one line of the api's code; the image is built before the clock starts,
for both. ppmctl deploys as it always does. The peer is the same stack of one colour, with a Traefik in front
and no more routing than that, upgraded as its manual says: a new tag, `docker compose up -d`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import POLITE, peer
from bench.ledger import Report, load, lost
from deploy.config import Environment
from deploy.configfile import ROOT
from deploy.configfile import load as load_environment
from deploy.host import Host
from deploy.stack import look

STEADY_SECONDS = 12.0
AFTER_SECONDS = 6.0
_ROW = "| {name} | {requests:,} | {failed} | {lost} | {p99_steady:.0f} | {p99:.0f} | {longest:.0f} | {seconds:.1f} |"


def ppmctl(checkout: Path, *argv: str) -> str:
    """Run the command line of a checkout; return what it prints on stdout."""
    done = subprocess.run(
        [*POLITE, sys.executable, str(checkout / "ppmctl.py"), *argv], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


@contextmanager
def changed_checkout() -> Iterator[Path]:
    """Yield a copy of this checkout in which one line of the api's code differs."""
    with tempfile.TemporaryDirectory(prefix="ppmctl-bench-") as scratch:
        copy = Path(scratch) / "checkout"
        files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True)
        for name in filter(None, files.stdout.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        for name in (".ppmctl", "secrets"):
            (copy / name).symlink_to(ROOT / name)
        code = copy / "app" / "api" / "__init__.py"
        code.write_text(f"{code.read_text()}\n# {time.time_ns()}\n")
        yield copy


def measure(url: str, token: str, upgrade: Callable[[], Any]) -> tuple[dict[str, Any], Report, Any]:
    """Load the application, upgrade it, and return (figures, report, what the upgrade returned)."""
    with load(url, token) as running:
        time.sleep(STEADY_SECONDS)
        begin = time.monotonic()
        said = upgrade()
        end = time.monotonic()
        time.sleep(AFTER_SECONDS)
        report = running.stop()
    begin, end = begin - report.started, end - report.started
    figures = {
        "requests": report.requests,
        "failed": report.failed,
        "lost": len(asyncio.run(lost(url, token, report.acknowledged))),
        "acknowledged": len(report.acknowledged),
        "p99_steady": report.percentile(0.99, 2, begin),
        "p99": report.percentile(0.99, begin, end),
        "longest": report.longest,
        "seconds": end - begin,
    }
    return figures, report, said


def run_ppmctl(environment: Environment) -> tuple[dict[str, Any], Report, dict[str, Any]]:
    """Upgrade the environment with ppmctl, under load."""
    create = ("ppm", "token", "create", f"bench-{time.time_ns()}")
    token = ppmctl(ROOT, "exec", "-e", environment.name, "api", "--", *create).strip()
    with changed_checkout() as checkout:
        ppmctl(checkout, "images", "build", "-e", environment.name)
        return measure(
            environment.url,
            token.splitlines()[-1],
            lambda: json.loads(ppmctl(checkout, "deploy", "-e", environment.name, "--json")),
        )


def run_peer(environment: Environment) -> tuple[dict[str, Any], Report, None]:
    """Upgrade the same stack with `docker compose up -d`, under load."""
    with Host.connect(environment, environment.hosts[0]) as host:
        record = look(host).record
        assert record is not None, "deploy first"
        with peer.compose_stack(host, record.release) as stack:
            figures, report, _ = measure(stack.url, stack.token(), stack.upgrade)
            return figures, report, None


def main() -> None:
    """Print the table, and the figures as JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-e", "--env", default="lab")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    environment = load_environment(options.env)
    ours, report, deployed = run_ppmctl(environment)
    theirs, their_report, _ = run_peer(environment)
    if options.json:
        json.dump({"ppmctl": ours, "docker compose up -d": theirs, "deploy": deployed}, sys.stdout, indent=2)
        return
    print("| | requests | failed | lost writes | p99 before, ms | p99 during, ms | longest, ms | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(_ROW.format(name="ppmctl deploy", **ours))
    print(_ROW.format(name="docker compose up -d", **theirs))
    print(f"\nbytes sent {deployed['bytes_sent']:,}; streams reopened {report.reconnects}; slow uploads {report.slow}")
    print("steps: " + ", ".join(f"{step['name']} {step['seconds']:.1f}" for step in deployed["steps"]))
    for who, failures in (("ppmctl", report.failures), ("docker compose", their_report.failures)):
        for failure in failures[:3]:
            print(f"{who}: {failure}")


if __name__ == "__main__":
    main()
