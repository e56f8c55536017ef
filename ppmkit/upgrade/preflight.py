"""Preflight checks of a host before an upgrade touches it: engine, disk, ports, clock, database, domain for a CA."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ppmkit.database import journal_mode
from ppmkit.errors import PreflightError
from ppmkit.proxy import acme

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.orchestrator.stack import Stack

MIN_ENGINE = (20, 10)
MIN_FREE = 1 << 30
"""Bytes that must be free on Docker's disk and on the environment's: for images, snapshot and WAL."""
MAX_CLOCK_OFFSET = 5.0

_FACTS = """
df -PB1 "$1" /var/lib/docker 2>/dev/null | awk 'NR > 1 {print "free", $4, $6}'
date +'now %s'
test -w "$1" && echo writable
sed -n 's/^ *tcp dport { \\([0-9, ]*\\) } accept$/open \\1/p' /etc/ppm-firewall.nft 2>/dev/null | tr -d ','
ss -ltnH | awk '{n = split($4, a, ":"); print "port", a[n]}' | sort -u
"""


def check(host: Host, stack: Stack) -> None:
    """Raise PreflightError, with what to do, when an upgrade could not succeed on this host."""
    directory = host.environment.directory
    lines = host.run(["sh", "-c", _FACTS, "sh", str(directory)]).stdout.splitlines()
    facts = [line.split() for line in lines]
    again = f"ppmctl deploy -e {host.environment.name}"
    provision = f"ppmctl provision -e {host.environment.name}"
    if ["writable"] not in facts:
        raise _refuse(host, f"{directory} is missing or not writable for {host.environment.ssh.user}", provision)
    for fact in facts:
        if fact[0] == "free" and int(fact[1]) < MIN_FREE:
            free = f"{int(fact[1]) / (1 << 20):.0f} MiB"
            raise _refuse(
                host,
                f"only {free} are free on {fact[2]}; an upgrade needs {MIN_FREE >> 20} MiB for images and data",
                f"Free space there (docker image prune; journalctl --vacuum-size=200M), then: {again}",
            )
        if fact[0] == "now" and abs(int(fact[1]) - time.time()) > MAX_CLOCK_OFFSET:
            offset = int(fact[1]) - time.time()
            raise _refuse(host, f"its clock is {offset:+.0f} s off this machine's", provision)
    opened = [fact[1:] for fact in facts if fact[0] == "open"]
    _check_firewall(host, {port for ports in opened for port in ports}, provision)
    _check_ports(host, stack, {fact[1] for fact in facts if fact[0] == "port"})
    _check_engine(host)
    journal_mode.refuse_unless_wal(host)
    if not stack.running("reverse-proxy"):  # a proxy that runs has its certificate already
        acme.check(host)


def _public(host: Host) -> list[int]:
    proxy = host.environment.proxy
    return [proxy.http_port, *([proxy.https_port] if host.environment.tls else [])]


def _check_firewall(host: Host, opened: set[str], provision: str) -> None:
    """Refuse when users would not get through: a deploy's own checks use the loopback, so they would not notice."""
    closed = [str(port) for port in _public(host) if str(port) not in opened]
    if opened and closed:
        raise _refuse(host, f"its firewall does not let users through to port {', '.join(closed)}", provision)


def _check_ports(host: Host, stack: Stack, listening: set[str]) -> None:
    if stack.running("reverse-proxy"):
        return
    ports = [*_public(host), host.environment.proxy.internal_port]
    if taken := [port for port in ports if str(port) in listening]:
        raise _refuse(
            host,
            f"port {taken[0]} is taken by another program",
            f"See which on {host.name}: sudo ss -ltnp 'sport = :{taken[0]}'; stop it, or change proxy.*_port",
        )


def _check_engine(host: Host) -> None:
    from python_on_whales import DockerException

    try:
        version = host.engine_version
    except DockerException as error:
        raise _refuse(
            host,
            "its Docker engine does not answer",
            f"ppmctl provision -e {host.environment.name}",
            error.stderr,
        ) from error
    if version < MIN_ENGINE:
        dotted = ".".join(map(str, version))
        raise _refuse(host, f"its Docker engine is {dotted}; 20.10 or newer is needed", "Upgrade Docker there")


def _refuse(host: Host, message: str, next_step: str, seen: str | None = None) -> PreflightError:
    return PreflightError(
        f"{host.name}: {message}. Nothing was changed",
        step="preflight",
        host=host.name,
        seen=seen,
        next=next_step,
    )
