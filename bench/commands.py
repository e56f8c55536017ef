"""The duration of commands on an idle host: a deploy of changed code, a rollback, a deploy of an unchanged tree, help.

    python -m bench.commands

It boots a throwaway host, deploys to it, and removes it at the end. The image with the changed code is built before
the timing starts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.site import changed_checkout, ppmctl, site
from ppmkit.images import layers
from ppmkit.local.engine import local_docker
from ppmkit.paths import KIT

WAITING = ("start", "ready", "worker", "drain")
"""Steps that wait for containers to start, or to finish what they have in flight."""


def timed(run: Callable[[], str]) -> tuple[float, str]:
    """Return (the seconds that a call took, what it returned)."""
    began = time.monotonic()
    output = run()
    return time.monotonic() - began, output


def top_layer(id: str) -> int:
    """Return the size of an image's top layer in bytes. In the api's image, it is the layer with the code."""
    docker = local_docker()
    image = docker.image.inspect(id)
    known = layers.chain_ids(image.root_fs.layers or [])[:-1]
    with tempfile.NamedTemporaryFile() as archive:
        layers.save(layers.root(docker), [image.id], known, Path(archive.name))
        with tarfile.open(archive.name) as tar:
            return sum(member.size for member in tar if member.name.endswith("/layer.tar"))


def change(environment: str) -> dict[str, Any]:
    """Deploy a change of one line of code; return its figures."""
    with changed_checkout() as checkout:
        built = dict(line.split() for line in ppmctl(checkout, "images", "build", "-e", environment).splitlines())
        seconds, output = timed(lambda: ppmctl(checkout, "deploy", "-e", environment, "--json"))
    done = json.loads(output)
    waiting = sum(step["seconds"] for step in done["steps"] if step["name"] in WAITING)
    share = done["bytes_sent"] / top_layer(built["api"])
    return {"seconds": seconds, "rest": seconds - waiting, "sent": done["bytes_sent"], "share": share}


def roll_back(environment: str) -> dict[str, float]:
    """Roll back to the previous release, which has the same schema; return {back, seconds}.

    `back` is the seconds until users were on the previous release.
    """
    seconds, output = timed(lambda: ppmctl(KIT, "rollback", "-e", environment, "--json"))
    [done] = json.loads(output)
    return {"back": seconds - (done["seconds"] - done["served_seconds"]), "seconds": seconds}


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=5, help="number of runs of each command; figures are medians (default 5)"
    )
    options = parser.parse_args()
    with site() as environment:
        again, _ = timed(lambda: ppmctl(KIT, "up", "-e", environment.name))
        changes, backs = [], []
        for _ in range(options.runs):
            changes.append(change(environment.name))
            backs.append(roll_back(environment.name))
        ppmctl(KIT, "deploy", "-e", environment.name)
        nothing = [timed(lambda: ppmctl(KIT, "deploy", "-e", environment.name))[0] for _ in range(options.runs)]
    helps = [timed(lambda: ppmctl(KIT, "--help"))[0] for _ in range(options.runs)]
    print("| | seconds |\n| --- | --- |")
    print(f"| `ppmctl deploy` of changed code | {statistics.median(run['seconds'] for run in changes):.1f} |")
    print(f"| of that, neither start-up nor drain | {statistics.median(run['rest'] for run in changes):.1f} |")
    print(f"| `ppmctl rollback`, until users are back | {statistics.median(run['back'] for run in backs):.1f} |")
    print(f"| `ppmctl rollback` in all, drain included | {statistics.median(run['seconds'] for run in backs):.1f} |")
    print(f"| `ppmctl deploy` of an unchanged tree | {statistics.median(nothing):.1f} |")
    print(f"| `ppmctl up` of what is up | {again:.1f} |")
    print(f"| `ppmctl --help` | {statistics.median(helps):.2f} |")
    last = changes[-1]
    print(f"\nBytes sent for changed code: {last['sent']:,}, {last['share']:.2f} of the changed layer")


if __name__ == "__main__":
    main()
