"""Model of a lab: its hosts with their names and ports, and the location of its state."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ppmkit.config.environment import Model
from ppmkit.errors import UsageError
from ppmkit.paths import PROJECT

_SSH, _HTTP, _HTTPS = 2200, 8000, 8400
MAX_HOSTS = 99
"""More would overlap with the ports of a lab whose offset is 100 higher."""


class LabHost(Model):
    """One host. The ports are published on 127.0.0.1 only."""

    name: str
    container: str
    ssh_port: int
    http_port: int
    https_port: int
    state: str
    """Docker's status (running, exited, …), or ``absent``."""

    @property
    def ports(self) -> tuple[int, int, int]:
        """All ports that the host uses on this machine."""
        return self.ssh_port, self.http_port, self.https_port


class Lab(Model):
    """A lab and its hosts. Its state (key, known_hosts, compose.yaml, lab.json) is in `directory`."""

    name: str
    offset: int
    hosts: tuple[LabHost, ...]

    @property
    def project(self) -> str:
        """The Compose project on this machine's engine."""
        return f"ppm-lab-{self.name}"

    @property
    def directory(self) -> Path:
        """The directory of the lab's state."""
        return directory(self.name)

    @property
    def identity_file(self) -> Path:
        """The private key that logs in to every host of the lab."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts_file(self) -> Path:
        """The hosts' keys, read from inside the containers."""
        return self.directory / "known_hosts"

    @property
    def compose_file(self) -> Path:
        """The Compose file of the hosts."""
        return self.directory / "compose.yaml"


def directory(name: str) -> Path:
    """Given a lab's name, return the directory of its state."""
    return PROJECT / ".ppmctl" / name


def first_ssh_port() -> int:
    """Return the SSH port of the first host in a lab without an offset."""
    return _SSH + 1


def wanted(name: str, hosts: int, offset: int) -> Lab:
    """Given a name, a number of hosts and a port offset, return the lab with all hosts absent."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
        raise UsageError(f"{name!r} is not a valid lab name: a-z first, then a-z, 0-9 and -, at most 32 characters")
    if not 1 <= hosts <= MAX_HOSTS:
        raise UsageError(f"a lab has 1 to {MAX_HOSTS} hosts, not {hosts}")
    if not 0 <= offset <= 1000:
        raise UsageError(f"the offset of a lab's ports is 0 to 1000, not {offset}")
    return Lab(
        name=name,
        offset=offset,
        hosts=tuple(
            LabHost(
                name=f"{name}-{number}",
                container=f"ppm-{name}-{number}",
                ssh_port=_SSH + offset + number,
                http_port=_HTTP + offset + number,
                https_port=_HTTPS + offset + number,
                state="absent",
            )
            for number in range(1, hosts + 1)
        ),
    )


def inventory(lab: Lab) -> dict[str, Any]:
    """Given a lab, return the `hosts` and `ssh` sections for the YAML of an environment that deploys to it."""

    def relative(path: Path) -> str:
        return str(path.relative_to(PROJECT))

    return {
        "hosts": [{"name": host.name, "address": "127.0.0.1", "port": host.ssh_port} for host in lab.hosts],
        "ssh": {
            "identity_file": relative(lab.identity_file),
            "known_hosts_file": relative(lab.known_hosts_file),
        },
    }


def replace(path: Path, text: str) -> None:
    """Write a file of the lab's state atomically."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
