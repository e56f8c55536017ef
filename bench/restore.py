"""The restore of a large database from a backup under load: how long requests wait, and whether any fail.

    python -m bench.restore

It boots a throwaway host, deploys to it, fills the database, backs it up, and removes everything at the end. The
restore discards what was written since the backup, as it must; no request may fail because of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

from bench.breaking import CONNECTIONS, FILLING, RATE
from bench.ledger import load
from bench.site import address, ppmctl, site
from ppmkit.config.environment import Environment
from ppmkit.paths import KIT


def run(environment: Environment, backup: str, token: str) -> dict[str, float]:
    """Restore the backup under load; return the figures."""
    with load(f"http://{address()}", token, rate=RATE, connections=CONNECTIONS, slow=False) as running:
        time.sleep(5)
        done = json.loads(ppmctl(KIT, "restore", backup, "--yes", "-e", environment.name, "--json"))
        time.sleep(5)
        report = running.stop()
    for failure in report.failures:
        print(failure, file=sys.stderr)
    return {
        "requests": report.requests,
        "failed": report.failed,
        "seconds": done["seconds"],
        "held": done["held_seconds"],
        "longest": report.longest / 1000,
    }


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="number of runs; figures are medians (default 3)")
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the database (default 1000)")
    options = parser.parse_args()
    with site() as environment:
        execute = ("exec", "-e", environment.name, "api", "--")
        token = ppmctl(KIT, *execute, "ppm", "token", "create", "bench").strip().splitlines()[-1]
        size = ppmctl(KIT, *execute, "python", "-c", FILLING.format(size=options.megabytes * 1_000_000)).strip()
        made = json.loads(ppmctl(KIT, "backup", "create", "-e", environment.name, "--json"))
        runs = [run(environment, made["id"], token) for _ in range(options.runs)]
    median = {key: statistics.median(figures[key] for figures in runs) for key in runs[0]}
    print("| requests | failed | restore, s | held, s | longest wait, s |")
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {median['requests']:,.0f} | {max(figures['failed'] for figures in runs):.0f} | {median['seconds']:.1f} "
        f"| {median['held']:.1f} | {median['longest']:.1f} |"
    )
    bytes = int(size.splitlines()[-1])
    print(f"\nDatabase: {bytes:,} bytes; backup took {made['seconds']:.1f} s; {RATE} requests per second")


if __name__ == "__main__":
    main()
