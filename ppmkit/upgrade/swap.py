"""Replacement of the proxy's container by another one, with other files.

Nothing listens between the stop of one and the start of the other. So a script on the host (swap.sh) does both, with
the new container already created: even if this machine fails, one proxy serves.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from ppmkit.errors import OperationError
from ppmkit.host import proxy_settings
from ppmkit.proxy import routes, traefik
from ppmkit.release import render

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.host.host import Host
    from ppmkit.operation.transaction import Operation
    from ppmkit.orchestrator.stack import Found

ROLE = "reverse-proxy"
ROUTES = f"dynamic/{render.ROUTES}"
FILES = (proxy_settings.FILE, f"dynamic/{render.CERTIFICATES}", ROUTES)
"""Files below :func:`traefik_directory` that decide where the proxy sends users and which certificates it shows."""
Check = Callable[[], str | None]
"""Returns None when users are served, else the answer that was not good."""
Silence = Literal["back", "keep"]
"""Default outcome of a replacement without a confirmation that users are served."""
_SCRIPT = Path(__file__).with_suffix(".sh")
_ASIDE = "before.yaml"
_POLL = 0.1
_SPARE_SECONDS = 5
"""How much longer the script waits than the ppmctl that checks whether users are served."""
_ENGINE_SECONDS = 120
"""How long the script may take beyond that, when the engine is slow or restarts."""
_COPY = f"""
set -e
test ! -d "$2" || exit 0
rm -rf "$2.new"; mkdir -p "$2.new/dynamic"
for file in {" ".join(FILES)}; do
  if test -e "$1/$file"; then cp "$1/$file" "$2.new/$file"; fi
done
find "$2.new" -exec sync {{}} +; mv -T "$2.new" "$2"; sync "$(dirname "$2")"
"""
_DETACHED = 'cd "$1" && setsid nohup sh swap.sh $2 >> log 2>&1 < /dev/null &'


@dataclass(frozen=True)
class Swap:
    """One replacement. ``folder`` on the host holds its files; ``after`` in it has the files for the new proxy."""

    folder: PurePosixPath
    old: Found
    """The container that is replaced."""
    new: Found
    policies: tuple[str, str]
    """The restart policies of the two, to set on the one that serves in the end."""
    silence: Silence


def traefik_directory(host: Host) -> PurePosixPath:
    """Return the folder of the files that the proxy reads, and of the settings that it was created with."""
    return host.environment.directory / "traefik"


def copy(host: Host, source: PurePosixPath, target: PurePosixPath) -> None:
    """Copy what the proxy reads from one folder to a new one; an existing target folder stays as it is."""
    host.run(["sh", "-c", _COPY, "sh", str(source), str(target)])


def create(operation: Operation, compose: DockerClient) -> Found:
    """Have Compose create another container of the proxy, stopped, and leave the existing ones as they are."""
    known = {c.id for c in operation.stack.of(ROLE)}
    scale = {ROLE: len(known) + 1}
    compose.compose.up([ROLE], start=False, recreate=False, scales=scale, dependencies=False, no_build=True, quiet=True)
    return next(c for c in operation.refresh().of(ROLE) if c.id not in known)


def prepare(operation: Operation, swap: Swap) -> None:
    """Write the files that the script needs next to ``after``."""
    host, folder = operation.host, swap.folder
    values = {
        "traefik": str(traefik_directory(host)),
        "aside": _ASIDE,
        "old": swap.old.id,
        "new": swap.new.id,
        "old_policy": swap.policies[0],
        "new_policy": swap.policies[1],
        "patience": f"{(_timeout(operation) + _SPARE_SECONDS) * 10:.0f}",
        "silence": swap.silence,
    }
    copy(host, traefik_directory(host), folder / "before")
    if aside := routes.aside(host.read(traefik_directory(host) / ROUTES) or "", traefik.ASIDE):
        host.write(folder / _ASIDE, aside)
    host.write(folder / "swap.sh", _SCRIPT.read_text(encoding="utf-8"))
    host.write(folder / "plan", "".join(f"{key}='{value}'\n" for key, value in values.items()))


def run(operation: Operation, swap: Swap, check: Check) -> str | None:
    """Start the script, and tell it to keep the new proxy once users are served; return the last bad answer.

    When the script has ended, :func:`outcome` returns its result.
    """
    host, folder = operation.host, swap.folder
    _begin(host, folder)
    deadline, last, started = time.monotonic() + _timeout(operation), "the new proxy has not started", False
    while outcome(host, folder) is None:
        if not started and (started := exists(host, folder / "started")):
            host.forget_proxy_settings()
        if started and not (last := check() or ""):
            host.write(folder / "keep", "")
            break
        if time.monotonic() > deadline:
            last = traefik.explained(host, operation.refresh(), last) or last
            host.write(folder / swap.silence, "users were not served\n")
            break
        host.rest(_POLL)
    _await(host, folder, _timeout(operation) + _ENGINE_SECONDS)
    operation.refresh()
    return last or None


def settle(host: Host, folder: PurePosixPath, silence: Silence) -> str | None:
    """Let an interrupted replacement end; return its outcome, or None when there was none."""
    if not exists(host, folder / "plan"):
        return None
    if outcome(host, folder) is None:
        host.write(folder / silence, "it was interrupted\n")
        _begin(host, folder, "again")  # does nothing if the script still runs
    return _await(host, folder, _ENGINE_SECONDS)


def outcome(host: Host, folder: PurePosixPath) -> str | None:
    """Return "done", or the reason for the failure; None before the end."""
    text = host.read(folder / "outcome")
    return None if text is None else text.strip()


def planned(host: Host, folder: PurePosixPath) -> dict[str, str]:
    """Return the script's values by name: the ids ``old`` and ``new``, their policies, …"""
    return dict(re.findall(r"^(\w+)='(.*)'$", host.read(folder / "plan") or "", re.MULTILINE))


def remove_stopped(operation: Operation) -> None:
    """If a container of the proxy runs, remove the others and give it the plain name."""
    docker, stack = operation.host.docker.container, operation.refresh()
    if not stack.active(ROLE):
        return
    if stopped := [c.id for c in stack.of(ROLE) if not c.active]:
        docker.remove(stopped)
        stack = operation.refresh()
    name = f"{operation.environment.project}-{ROLE}-1"
    if name not in {c.name for c in stack.of(ROLE)}:
        docker.rename(stack.of(ROLE)[0].id, name)
        operation.refresh()


def remove_aside(host: Host) -> None:
    """Remove the additional routes next to those in force."""
    host.run(["rm", "-f", str(traefik_directory(host) / "dynamic" / _ASIDE)])


def exists(host: Host, path: PurePosixPath) -> bool:
    """Return whether the path exists on the host."""
    return host.run(["test", "-e", str(path)], check=False).status == 0


def _begin(host: Host, folder: PurePosixPath, argument: str = "") -> None:
    host.run(["sh", "-c", _DETACHED, "sh", str(folder), argument])


def _await(host: Host, folder: PurePosixPath, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while (ended := outcome(host, folder)) is None:
        if time.monotonic() > deadline:
            raise OperationError(
                f"{host.name}: the replacement of the proxy has not ended",
                host=host.name,
                seen=host.read(folder / "log"),
                next=f"ppmctl abort -e {host.environment.name}",
            )
        host.rest(_POLL)
    host.forget_proxy_settings()
    return ended


def _timeout(operation: Operation) -> float:
    return operation.environment.upgrade.switch_timeout.total_seconds()
