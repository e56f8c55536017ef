"""What provisioning set up on a host, and whether it is there still: doctor's rows of it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ppmkit.doctor.readings import readable
from ppmkit.provision.host_files import AUDIT, UPDATES

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.doctor.readings import Finding, Readings

_OF_THE_MACHINE = "a container, with its machine's"


def findings(environment: Environment, facts: Readings) -> Iterator[Finding]:
    """Given what was found on a host, yield a row for each thing that was set up."""
    found = dict(value.rsplit(" ", 1) for value in facts.all("file"))
    for file in readable(environment):
        same = found.get(file.path) == hashlib.sha256(file.content.encode()).hexdigest()
        ok = same and (file is not UPDATES or bool(facts.one("updates")))
        seen = "as wanted" if ok else "its timer is off" if same else "changed" if file.path in found else "missing"
        yield file.name, ok, seen, file.path, ""
    inside = bool(facts.one("container"))
    if environment.provision.time_sync:
        yield "time service", *_there(facts, "time", inside, "clock"), "one runs", ""
    if environment.provision.swap:
        size = f"{int(facts.one('swap') or 0) >> 10:,} MiB"
        ok = inside or int(facts.one("swap") or 0) > 0
        yield "swap", ok, f"{_OF_THE_MACHINE} kernel" if inside else size, "any", ""
    if environment.provision.audit:
        yield AUDIT.name, *_there(facts, "audit", inside, "kernel"), "auditd runs", ""


def _there(facts: Readings, name: str, inside: bool, whose: str) -> tuple[bool, str]:
    running = bool(facts.one(name))
    return running or inside, "it does" if running else f"{_OF_THE_MACHINE} {whose}" if inside else "it does not"
