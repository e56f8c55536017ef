"""Doctor's checks of the hardening that provisioning set up on a host. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ppmkit.doctor.readings import readable
from ppmkit.provision.host_files import AUDIT, UPDATES

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.doctor.readings import Finding, Readings

_OF_THE_MACHINE = "a container, which uses its machine's"


def findings(environment: Environment, facts: Readings) -> Iterator[Finding]:
    """Given a host's readings, yield a row for each measure."""
    digests = dict(value.rsplit(" ", 1) for value in facts.all("file"))
    for file in readable(environment):
        same = digests.get(file.path) == hashlib.sha256(file.content.encode()).hexdigest()
        ok = same and (file is not UPDATES or bool(facts.one("updates")))
        seen = "as required" if ok else "its timer is off" if same else "changed" if file.path in digests else "missing"
        yield file.name, ok, seen, file.path, ""
    inside = bool(facts.one("container"))
    if environment.provision.time_sync:
        yield "time service", *_running(facts, "time", inside, "clock"), "running", ""
    if environment.provision.swap:
        size = f"{int(facts.one('swap') or 0) >> 10:,} MiB"
        ok = inside or int(facts.one("swap") or 0) > 0
        yield "swap", ok, f"{_OF_THE_MACHINE} kernel" if inside else size, "any", ""
    if environment.provision.audit:
        yield AUDIT.name, *_running(facts, "audit", inside, "kernel"), "auditd is running", ""


def _running(facts: Readings, name: str, inside: bool, shared: str) -> tuple[bool, str]:
    """Return ok and found for a service; a container uses the ``shared`` resource of its machine instead."""
    running = bool(facts.one(name))
    return running or inside, "running" if running else f"{_OF_THE_MACHINE} {shared}" if inside else "not running"
