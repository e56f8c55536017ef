"""The migration gate: what is pending, asked of the new image, and applying it."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from deploy.config import Model
from deploy.errors import UpgradeError

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from deploy.host import Host
    from deploy.release import Color


_KILLED = 137  # 128 + SIGKILL
# Compose looks for the files of secrets on this machine; they are on the host.
_COMPOSE_WARNING = re.compile(r'time="[^"]*" level=warning msg="secret file')


class Revision(Model):
    """One migration that the database lacks."""

    revision: str
    compatibility: Literal["expand", "breaking"]
    """`expand`: the old release runs on it. `breaking`: it does not, or nobody says so."""
    summary: str


_REVISIONS = TypeAdapter(tuple[Revision, ...])


class Migrations(Model):
    """The database's revision against the image's."""

    current: str | None
    head: str
    pending: tuple[Revision, ...]

    @property
    def breaking(self) -> tuple[Revision, ...]:
        """The pending revisions that the old release cannot run on."""
        return tuple(revision for revision in self.pending if revision.compatibility == "breaking")


def pending(host: Host, compose: DockerClient, color: Color) -> Migrations:
    """Ask the new image what the database on the host lacks."""
    return Migrations.model_validate(_ask(host, compose, color, "migrations", timeout=60))


def shipped(docker: DockerClient, image: str) -> tuple[Revision, ...] | None:
    """Return every revision of an image on this machine, oldest first; None when the image is not here.

    Raises UpgradeError when it cannot tell.
    """
    closed = ["--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL"]
    argv = [*map(str, docker.client_config.docker_cmd), "run", "--rm", *closed, image, "ppm", "revisions"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 0:
        return _REVISIONS.validate_json(done.stdout)
    if "No such image" in done.stderr:
        return None
    raise UpgradeError(
        "the new image cannot tell its migrations",
        step="plan",
        seen=_last_words(done),
        next=f"Try it alone: docker run --rm {image} ppm revisions",
    )


def lacking(shipped: tuple[Revision, ...], current: str | None) -> tuple[Revision, ...]:
    """Return what a database at ``current`` lacks; nothing where a newer release has been."""
    names = [None, *(revision.revision for revision in shipped)]
    return shipped[names.index(current) :] if current in names else ()


def apply(host: Host, compose: DockerClient, color: Color, timeout: float) -> None:
    """Apply what is pending with the new image; each migration is a transaction of its own."""
    _ask(host, compose, color, "migrate", timeout=timeout)


def _ask(host: Host, compose: DockerClient, color: Color, command: str, timeout: float) -> dict[str, Any]:
    """Run `ppm COMMAND` in a container of the new image that is gone afterwards; return the JSON it prints."""
    run = [*compose.compose.docker_compose_cmd, "run", "--rm", "--no-deps", "-T", "--quiet-pull"]
    argv = [str(part) for part in [*run, f"api-{color}", "ppm", command]]
    try:
        # Not python-on-whales' own `compose.run`: it has no deadline and loses what went to stderr.
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as slow:
        raise UpgradeError(
            f"{host.name}: `ppm {command}` did not end within {timeout:g} s",
            step="migrate",
            host=host.name,
            next="Raise upgrade.migrate_timeout, or look at the migration",
        ) from slow
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    killed = done.returncode == _KILLED
    raise UpgradeError(
        f"{host.name}: `ppm {command}` ended with status {done.returncode} in the new image",
        step="migrate",
        host=host.name,
        seen="it was killed, most likely for its memory limit" if killed else _last_words(done),
        next="Raise services.api.memory" if killed else "Mend the migration, then deploy again",
    )


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if not _COMPOSE_WARNING.match(line)]
    return "\n".join(lines[-20:])
