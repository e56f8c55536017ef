"""Drift: manual changes on a host, found by comparing the host with its release. Pure.

CPU shares are not part of it: ppmctl itself raises them when users are sent to a container.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import ByteSize

from ppmkit.config.environment import Model
from ppmkit.orchestrator.stack import PORTS, Found, Setup, Stack
from ppmkit.plan.diff import unified
from ppmkit.release import render
from ppmkit.release.model import COLORS, Color, Release, identify
from ppmkit.secrets.on_host import SecretFile

ROUTES = f"traefik/dynamic/{render.ROUTES}"
CERTIFICATES = f"traefik/dynamic/{render.CERTIFICATES}"
Means = Literal["write", "start", "update", "replace", "recreate", "operator"]
_NEXT = {
    "write": "`ppmctl deploy` rewrites it",
    "start": "`ppmctl deploy` restores it",
    "update": "`ppmctl deploy` resets it",
    "replace": "`ppmctl deploy` replaces it with new containers, as in an upgrade",
    "recreate": "`ppmctl deploy` recreates it; if it is the proxy, nothing listens for half a second",
}
LIMITS = ("memory", "memory_swap", "cpus", "pids", "restart")
"""The properties that `docker update` can change."""
_FIXED = ("image", "user", "read_only", "cap_drop", "security_opt", "environment", "config_hash")


class Drift(Model):
    """One difference between the host and its release."""

    what: str
    """A path below the environment's directory, a container, or a service."""
    seen: str
    means: Means
    """How it is repaired; `operator`: not by ppmctl."""
    next: str
    diff: str = ""

    @property
    def line(self) -> str:
        """The difference as one line."""
        return f"{self.what}: {self.seen}"


class Intended(Model):
    """One service, as defined in a Compose file."""

    role: str | None
    color: Color | None
    replicas: int
    setup: Setup


class Evidence(Model):
    """The data read from a host that drift is judged by."""

    files: dict[str, str]
    """{path: content} of ``releases/<id>/``, without release.json."""
    routes: str | None
    usual_routes: str | None = None
    """What this ppmctl writes for the running proxy: after a rollback, the release may be from an older ppmctl."""
    certificates: str | None = None
    """The file that tells the proxy where its own certificate is."""
    settings: str | None = None
    """The steward's settings."""
    secrets: dict[str, SecretFile]
    """{name/version: the file's state}."""
    foreign_containers: tuple[str, ...]
    """Containers on the environment's networks or volumes that are not part of its Compose project."""
    services: dict[str, Intended]
    """From the release's Compose file; empty when the original file is lost."""


def intended(config: Mapping[str, Any], hashes: Mapping[str, str], version: str) -> dict[str, Intended]:
    """Given the output of `docker compose config` and of its `--hash`, return the services by name."""
    return {
        name: Intended(
            role=service.get("labels", {}).get("ppm.role"),
            color=service.get("labels", {}).get("ppm.color"),
            replicas=service.get("scale", 1),
            setup=Setup(
                image=service.get("image"),
                user=service.get("user"),
                read_only=service.get("read_only"),
                cap_drop=service.get("cap_drop"),
                security_opt=service.get("security_opt"),
                environment=service.get("environment"),
                memory=service.get("mem_limit"),
                memory_swap=service.get("memswap_limit"),
                cpus=service.get("cpus"),
                pids=service.get("pids_limit"),
                restart=service.get("restart"),
                config_hash=hashes.get(name),
                compose_version=version,
            ),
        )
        for name, service in config["services"].items()
    }


def intact(release: str, files: Mapping[str, str]) -> bool:
    """Return whether the files are the release's original files: its id is their digest."""
    return identify({path: text.replace(release, "") for path, text in files.items()}) == release


def find(
    base: Release, wanted: Release, rendered: Mapping[str, str], stack: Stack, seen: Evidence
) -> tuple[Drift, ...]:
    """Return how the host differs from the release ``base``, which should be the one that serves.

    ``rendered`` has the files of ``wanted``: if both are the same release, every file's content is known.
    """
    live = stack.live or COLORS[0]
    known = rendered if base.id == wanted.id else None
    baseline = (known or seen.files).get(ROUTES)
    return (
        *_files(base, known, seen.files),
        *(_routes(baseline, live, stack, seen) if baseline else ()),
        *_certificates((known or seen.files).get(CERTIFICATES), seen.certificates),
        *_secrets(base, wanted, seen.secrets),
        *_containers(live, stack, seen.services),
        *(_foreign_container(name) for name in seen.foreign_containers),
    )


def _drift(what: str, seen: str, means: Means, diff: str = "") -> Drift:
    return Drift(what=what, seen=seen, means=means, next=_NEXT[means], diff=diff)


def _files(base: Release, known: Mapping[str, str] | None, found: Mapping[str, str]) -> Iterable[Drift]:
    folder = f"releases/{base.id}"
    if intact(base.id, found):
        return
    if known is None:
        seen = "its files are not the original ones" if found else "its files are missing"
        yield Drift(what=folder, seen=seen, means="operator", next="`ppmctl deploy` switches to another release")
        return
    for path in sorted(known.keys() | found.keys()):
        if path not in found:
            yield _drift(f"{folder}/{path}", "it is missing", "write")
        elif path not in known:
            yield _drift(f"{folder}/{path}", "it is not part of the release", "write")
        elif known[path] != found[path]:
            yield _drift(f"{folder}/{path}", "it was edited", "write", unified(found[path], known[path]))


def _routes(baseline: str, live: Color, stack: Stack, seen: Evidence) -> Iterable[Drift]:
    found = seen.routes
    if found is None:
        yield _drift(ROUTES, "it is missing", "write")
        return
    before, after = _general(found), _general(recolored(baseline, live))
    if before not in (after, _general(seen.usual_routes or "")):
        yield _drift(ROUTES, "it was edited", "write", unified(before, after))
        return
    served = [container.name for role in PORTS for container in stack.running(role, live)]
    if unrouted := [name for name in served if f"//{name}:" not in found]:
        yield _drift(ROUTES, f"it sends no requests to {', '.join(unrouted)}", "write")


def _certificates(baseline: str | None, found: str | None) -> Iterable[Drift]:
    # A rollback keeps the newest certificate: the previous one may have expired.
    versions = re.compile(r"/[0-9a-f]{8}$", re.MULTILINE)
    if baseline and (found is None or versions.sub("", found) != versions.sub("", baseline)):
        seen = "it is missing" if found is None else "it was edited"
        yield _drift(CERTIFICATES, seen, "write", unified(found or "", baseline))


def recolored(routes: str, live: Color) -> str:
    """Given a release's routes, which name the first color, return them with ``live`` as the live color."""
    return re.sub(rf"-{COLORS[0]}(?=(-\d+)?[:\s])", f"-{live}", routes)


def _general(routes: str) -> str:
    """Return the routes without the containers' numbers: Compose gives a new number to each container it replaces."""
    return re.sub(r"(- url: \S+)-\d+:", r"\1-N:", routes)


def _secrets(base: Release, wanted: Release, found: Mapping[str, SecretFile]) -> Iterable[Drift]:
    for name, version in base.secrets.items():
        what, file = f"secrets/{name}/{version}", found.get(f"{name}/{version}")
        seen = _secret(version, file)
        if seen is None:
            continue
        edited = file is not None and file.version != version
        if wanted.secrets.get(name) != version:
            yield Drift(what=what, seen=seen, means="operator", next="`ppmctl deploy` switches to another version")
        else:
            yield _drift(what, seen, "replace" if edited and base.id == wanted.id else "write")


def _secret(version: str, file: SecretFile | None) -> str | None:
    """Return what is wrong with the file of a secret's version, or None."""
    if file is None:
        return "it is missing"
    return "its content is not that of this version" if file.version != version else file.fault


def _containers(live: Color, stack: Stack, services: Mapping[str, Intended]) -> Iterable[Drift]:
    for name, service in services.items():
        if service.role is None or service.color not in (None, live):
            continue
        found = [container for container in stack.containers if container.service == name]
        if missing := service.replicas - len(found):
            yield from _wrong_number(name, missing, found)
        for container in found:
            if not container.running and container.status != "restarting":
                yield _drift(container.name, _state(container), "start")
            yield from _setup(container, service)


def _wrong_number(name: str, missing: int, found: Sequence[Found]) -> Iterable[Drift]:
    if missing > 0:
        yield _drift(name, f"{missing} of {missing + len(found)} containers are missing", "start")
    else:
        yield _drift(name, f"{len(found)} containers instead of {len(found) + missing}", "start")


def _state(container: Found) -> str:
    return f"it is {container.status}" + (f" (status {container.exit_code})" if container.status == "exited" else "")


def _setup(container: Found, service: Intended) -> Iterable[Drift]:
    replacement: Means = "replace" if service.color else "recreate"
    kinds: tuple[tuple[tuple[str, ...], Means], ...] = ((LIMITS, "update"), (_FIXED, replacement))
    for fields, means in kinds:
        changes = [_change(field, container.setup, service.setup) for field in fields]
        if text := ", ".join(change for change in changes if change):
            yield _drift(container.name, text, means)


def _change(field: str, found: Setup, wanted: Setup) -> str | None:
    actual, intended = getattr(found, field), getattr(wanted, field)
    if intended is None or actual is None or actual == intended:
        return None
    if field == "environment":  # the image adds its own variables; only names are shown, never values
        differ = sorted(name for name, value in intended.items() if actual.get(name) != value)
        return f"environment {', '.join(differ)}" if differ else None
    if field == "config_hash":
        same = found.compose_version == wanted.compose_version
        return "it was created from another Compose file" if same else None
    return f"{field.replace('_', ' ')} {_text(field, actual)}, not {_text(field, intended)}"


def _text(field: str, value: Any) -> str:
    if field.startswith("memory"):
        return ByteSize(value).human_readable()
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _foreign_container(name: str) -> Drift:
    return Drift(
        what=name,
        seen="it is not part of the stack, but on its networks or volumes",
        means="operator",
        next=f"Unless it belongs there, run on the host: docker rm -f {name}",
    )
