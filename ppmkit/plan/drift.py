"""What somebody changed on a host by hand: what the release says against what is there. Pure.

Shares of the processor are no part of it: ppmctl itself raises them when users are sent to a container.
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
    "write": "`ppmctl deploy` writes it anew",
    "start": "`ppmctl deploy` brings it back",
    "update": "`ppmctl deploy` sets it back",
    "replace": "`ppmctl deploy` puts new containers in its place, as in an upgrade",
    "recreate": "`ppmctl deploy` creates it again; where that is the proxy, nothing listens for half a second",
}
LIMITS = ("memory", "memory_swap", "cpus", "pids", "restart")
"""What `docker update` changes."""
_MADE = ("image", "user", "read_only", "cap_drop", "security_opt", "environment", "config_hash")


class Drift(Model):
    """One thing that is not as the release says."""

    what: str
    """A path below the environment's directory, a container, or a service."""
    seen: str
    means: Means
    """How it is put right; `operator`: not by ppmctl."""
    next: str
    diff: str = ""

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.what}: {self.seen}"


class Intended(Model):
    """One service, as a Compose file has it."""

    role: str | None
    color: Color | None
    replicas: int
    setup: Setup


class Evidence(Model):
    """What was read from a host to judge it by."""

    files: dict[str, str]
    """{path: content} of ``releases/<id>/``, without release.json."""
    routes: str | None
    usual_routes: str | None = None
    """What this version of ppmctl writes for the proxy that runs: a rollback may lead to a release of an older one."""
    certificates: str | None = None
    """Where the proxy is told to find its own certificate."""
    settings: str | None = None
    """Of the steward."""
    secrets: dict[str, SecretFile]
    """{name/version: what lies there}."""
    strangers: tuple[str, ...]
    """Containers on the environment's networks or volumes that its Compose project does not know."""
    services: dict[str, Intended]
    """From the release's Compose file; empty when that cannot be known any more."""


def intended(config: Mapping[str, Any], hashes: Mapping[str, str], version: str) -> dict[str, Intended]:
    """Given what `docker compose config` and its `--hash` print, return the services by name."""
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
    """Return whether the files are those that the release was made of: its id is their digest."""
    return identify({path: text.replace(release, "") for path, text in files.items()}) == release


def find(
    base: Release, wanted: Release, rendered: Mapping[str, str], stack: Stack, seen: Evidence
) -> tuple[Drift, ...]:
    """Return what is not as the release ``base`` says, which should be what serves.

    ``rendered`` is what ``wanted`` renders to: where both are one release, every file is known.
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
        *(_stranger(name) for name in seen.strangers),
    )


def _drift(what: str, seen: str, means: Means, diff: str = "") -> Drift:
    return Drift(what=what, seen=seen, means=means, next=_NEXT[means], diff=diff)


def _files(base: Release, known: Mapping[str, str] | None, found: Mapping[str, str]) -> Iterable[Drift]:
    where = f"releases/{base.id}"
    if intact(base.id, found):
        return
    if known is None:
        seen = "its files are not those that the release was made of" if found else "its files are gone"
        yield Drift(what=where, seen=seen, means="operator", next="`ppmctl deploy` leaves it for another release")
        return
    for path in sorted(known.keys() | found.keys()):
        if path not in found:
            yield _drift(f"{where}/{path}", "it is gone", "write")
        elif path not in known:
            yield _drift(f"{where}/{path}", "it is no part of the release", "write")
        elif known[path] != found[path]:
            yield _drift(f"{where}/{path}", "it was edited", "write", unified(found[path], known[path]))


def _routes(baseline: str, live: Color, stack: Stack, seen: Evidence) -> Iterable[Drift]:
    found = seen.routes
    if found is None:
        yield _drift(ROUTES, "it is gone", "write")
        return
    before, after = _general(found), _general(recolored(baseline, live))
    if before not in (after, _general(seen.usual_routes or "")):
        yield _drift(ROUTES, "it was edited", "write", unified(before, after))
        return
    served = [container.name for role in PORTS for container in stack.running(role, live)]
    if forgotten := [name for name in served if f"//{name}:" not in found]:
        yield _drift(ROUTES, f"it sends nobody to {', '.join(forgotten)}", "write")


def _certificates(baseline: str | None, found: str | None) -> Iterable[Drift]:
    # A rollback leaves the newest certificate in force: the one before may have ended since.
    versions = re.compile(r"/[0-9a-f]{8}$", re.MULTILINE)
    if baseline and (found is None or versions.sub("", found) != versions.sub("", baseline)):
        seen = "it is gone" if found is None else "it was edited"
        yield _drift(CERTIFICATES, seen, "write", unified(found or "", baseline))


def recolored(routes: str, live: Color) -> str:
    """Given the routes of a release, which are those of the first colour, return them with another one live."""
    return re.sub(rf"-{COLORS[0]}(?=(-\d+)?[:\s])", f"-{live}", routes)


def _general(routes: str) -> str:
    """Return the routes without the numbers of the containers: Compose gives a new one to each that it replaces."""
    return re.sub(r"(- url: \S+)-\d+:", r"\1-N:", routes)


def _secrets(base: Release, wanted: Release, found: Mapping[str, SecretFile]) -> Iterable[Drift]:
    for name, version in base.secrets.items():
        what, there = f"secrets/{name}/{version}", found.get(f"{name}/{version}")
        seen = _secret(version, there)
        if seen is None:
            continue
        edited = there is not None and there.version != version
        if wanted.secrets.get(name) != version:
            yield Drift(what=what, seen=seen, means="operator", next="`ppmctl deploy` leaves it for another version")
        else:
            yield _drift(what, seen, "replace" if edited and base.id == wanted.id else "write")


def _secret(version: str, there: SecretFile | None) -> str | None:
    """Return what is wrong with a version of a secret as it lies there."""
    if there is None:
        return "it is gone"
    return "its content is not that of this version" if there.version != version else there.fault


def _containers(live: Color, stack: Stack, services: Mapping[str, Intended]) -> Iterable[Drift]:
    for name, service in services.items():
        if service.role is None or service.color not in (None, live):
            continue
        found = [container for container in stack.containers if container.service == name]
        if lacks := service.replicas - len(found):
            yield from _wrong_number(name, lacks, found)
        for container in found:
            if not container.running and container.status != "restarting":
                yield _drift(container.name, _ended(container), "start")
            yield from _setup(container, service)


def _wrong_number(name: str, lacks: int, found: Sequence[Found]) -> Iterable[Drift]:
    if lacks > 0:
        yield _drift(name, f"{lacks} of {lacks + len(found)} containers are gone", "start")
    else:
        yield _drift(name, f"{len(found)} containers, {len(found) + lacks} are wanted", "start")


def _ended(container: Found) -> str:
    return f"it is {container.status}" + (f" (status {container.exit_code})" if container.status == "exited" else "")


def _setup(container: Found, service: Intended) -> Iterable[Drift]:
    made: Means = "replace" if service.color else "recreate"
    kinds: tuple[tuple[tuple[str, ...], Means], ...] = ((LIMITS, "update"), (_MADE, made))
    for fields, means in kinds:
        changes = [_change(field, container.setup, service.setup) for field in fields]
        if said := ", ".join(change for change in changes if change):
            yield _drift(container.name, said, means)


def _change(field: str, found: Setup, wanted: Setup) -> str | None:
    there, here = getattr(found, field), getattr(wanted, field)
    if here is None or there is None or there == here:
        return None
    if field == "environment":  # the image has variables of its own, and only names are shown
        differ = sorted(name for name, value in here.items() if there.get(name) != value)
        return f"environment {', '.join(differ)}" if differ else None
    if field == "config_hash":
        same = found.compose_version == wanted.compose_version
        return "it was made from another Compose file" if same else None
    return f"{field.replace('_', ' ')} {_text(field, there)}, not {_text(field, here)}"


def _text(field: str, value: Any) -> str:
    if field.startswith("memory"):
        return ByteSize(value).human_readable()
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _stranger(name: str) -> Drift:
    return Drift(
        what=name,
        seen="it is not of the stack, but on its networks or volumes",
        means="operator",
        next=f"Unless it is meant to be there, on the host: docker rm -f {name}",
    )
