"""Retention of the application images that were built on this machine's engine.

Several checkouts may share one engine, so the engine itself records which images are in use. In addition to the tag
with its recipe's digest, each image has a tag with the day on which a checkout last used it.

    ppm-build/api:0123456789ab            the image, by the digest of its recipe
    ppm-build/api:0123456789ab-20260131   last used on that day

Release tags are in repositories with another name (`ppmkit/release/prune.py`) and are never touched. Neither is
BuildKit's cache, which all builds on the machine share: the engine's own garbage collection limits it.
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
"""An image that was used within this time stays."""
KEEP_LAST = 3
"""This many images of each repository stay regardless of age, for a quick rollback or rebuild."""
_TAG = re.compile(r"(?P<reference>(?P<repository>[^:]+):[0-9a-f]{12})(-(?P<day>\d{8}))?")


class Changes(NamedTuple):
    """Changes to make to an engine's tags."""

    add: dict[str, str]
    """{new tag: reference of its image}."""
    remove: list[str]
    """Older day tags of images that stay."""
    obsolete: list[list[str]]
    """All tags of each image to remove."""


def changes(tags: Iterable[str], used: Collection[str], today: date) -> Changes:
    """Given all tags of built images, and the references in use now, return the changes to make. Pure.

    An image without a day tag counts as used today.
    """
    days: defaultdict[str, set[str]] = defaultdict(set)
    repositories: dict[str, str] = {}
    for match in filter(None, map(_TAG.fullmatch, tags)):
        days[match["reference"]] |= {match["day"]} - {None}
        repositories[match["reference"]] = match["repository"]
    now, oldest = f"{today:%Y%m%d}", f"{today - KEEP_FOR:%Y%m%d}"
    last = {reference: now if reference in used else max(known, default=now) for reference, known in days.items()}
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


def prune(docker: DockerClient, used: Collection[str], repository: str = REPOSITORY, today: date | None = None) -> None:
    """Record on the engine that these images are used today, and remove those that were not used for long.

    An image that a container uses stays. Images that cannot be removed now (another checkout may be using them) are
    tried again next time.
    """
    argv = docker.client_config.docker_cmd

    def run(*command: str) -> str:
        result = subprocess.run([*argv, *command], capture_output=True, encoding="utf-8", check=False)
        return result.stdout

    listed = run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={repository}/*:*")
    todo = changes(listed.split(), used, today or datetime.now(UTC).date())
    for tag, reference in todo.add.items():
        run("image", "tag", reference, tag)
    for tag in todo.remove:
        run("image", "rm", "--no-prune", tag)
    for tags in todo.obsolete:
        if not run("container", "ls", "--all", "--quiet", "--filter", f"ancestor={tags[0]}"):
            run("image", "rm", *tags)
