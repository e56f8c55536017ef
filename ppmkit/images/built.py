"""The application's images that were built on this machine's engine, and removing those that are no longer used.

Several checkouts may share one engine, so the engine itself holds who uses what: beside the tag that names an image by
its recipe's digest there is one with the day on which a checkout wanted the image last.

    ppm-build/api:0123456789ab            the image, by the digest of what it is built from
    ppm-build/api:0123456789ab-20260131   wanted last on that day

Tags of releases are in repositories of another name (`ppmkit/release/prune.py`) and are never touched, nor is
BuildKit's cache, which belongs to every build of the machine: the engine's own garbage collection bounds it.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from python_on_whales import DockerClient

REPOSITORY = "ppm-build"
KEEP_FOR = timedelta(days=14)
"""An image that somebody wanted so recently stays."""
KEEP_LAST = 3
"""So many of each repository stay however old they are, for a quick rollback or rebuild."""
_TAG = re.compile(r"(?P<reference>(?P<repository>[^:]+):[0-9a-f]{12})(-(?P<day>\d{8}))?")


class Changes(NamedTuple):
    """What is to be done to the tags of an engine."""

    add: dict[str, str]
    """{tag: reference of the image that gets it}."""
    remove: list[str]
    """Tags of images that stay: of the days before the last."""
    obsolete: list[list[str]]
    """All tags of each image that goes."""


def changes(tags: Iterable[str], wanted: Collection[str], today: date) -> Changes:
    """Given every tag of the built images, and those wanted now, return what is to be done. Pure.

    An image without a day counts as wanted today.
    """
    days: defaultdict[str, set[str]] = defaultdict(set)
    repositories: dict[str, str] = {}
    for found in filter(None, map(_TAG.fullmatch, tags)):
        days[found["reference"]] |= {found["day"]} - {None}
        repositories[found["reference"]] = found["repository"]
    now, oldest = f"{today:%Y%m%d}", f"{today - KEEP_FOR:%Y%m%d}"
    last = {reference: now if reference in wanted else max(found, default=now) for reference, found in days.items()}
    newest = sorted(last, key=lambda reference: last[reference], reverse=True)
    ranks: defaultdict[str, int] = defaultdict(int)
    result = Changes({}, [], [])
    for reference in newest:
        old = sorted(f"{reference}-{day}" for day in days[reference] if day != last[reference])
        tag = f"{reference}-{last[reference]}"
        ranks[repositories[reference]] += 1
        if last[reference] < oldest and ranks[repositories[reference]] > KEEP_LAST:
            result.obsolete.append([reference, *old, tag])
            continue
        result.remove.extend(old)
        if last[reference] not in days[reference]:
            result.add[tag] = reference
    return result


def prune(
    docker: DockerClient, wanted: Collection[str], repository: str = REPOSITORY, today: date | None = None
) -> None:
    """Note on the engine that these images are wanted today, and remove those that nobody has wanted for long.

    An image that a container has stays. What cannot be removed now (another checkout may be at it) is tried the next
    time.
    """
    argv = docker.client_config.docker_cmd

    def run(*command: str) -> str:
        done = subprocess.run([*argv, *command], capture_output=True, encoding="utf-8", check=False)
        return done.stdout

    listed = run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={repository}/*:*")
    todo = changes(listed.split(), wanted, today or datetime.now(UTC).date())
    for tag, reference in todo.add.items():
        run("image", "tag", reference, tag)
    for tag in todo.remove:
        run("image", "rm", "--no-prune", tag)
    for tags in todo.obsolete:
        if not run("container", "ls", "--all", "--quiet", "--filter", f"ancestor={tags[0]}"):
            run("image", "rm", *tags)
