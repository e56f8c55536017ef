"""Check this machine and the hosts for problems, each with its fix. Read-only."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppmkit.config.check import Named, files
from ppmkit.config.document import dotted
from ppmkit.config.environment import Model
from ppmkit.database import journal_mode
from ppmkit.doctor import hardening
from ppmkit.doctor.readings import Finding, Readings, read
from ppmkit.errors import CommandFailed, HostKeyChanged, HostUnreachable
from ppmkit.host import version
from ppmkit.host.host import Host
from ppmkit.local.pool import Pool
from ppmkit.provision.daemon_json import PATH, change
from ppmkit.upgrade.preflight import MIN_ENGINE

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

MIN_FREE = 2 << 30
"""Free bytes on the disks of Docker and of the environment, for images, backups and logs."""
MAX_CLOCK_OFFSET = 2.0
HERE = "this machine"
_MIB = 1 << 20


class Check(Model):
    """The result of one check."""

    where: str
    """A host's name, or "this machine"."""
    name: str
    ok: bool
    found: str
    wanted: str
    fix: str
    """The fix if it is not ok: a command, or a sentence that names one."""


@dataclass(frozen=True)
class _Tool:
    """A program on this machine, and the command that prints its version."""

    name: str
    argv: Sequence[str]
    oldest: tuple[int, ...]
    fix: str


_BUILD_TOOLS = (
    _Tool("Docker engine", ("docker", "version", "--format", "{{.Server.Version}}"), MIN_ENGINE, "ppmctl engine"),
    _Tool("buildx", ("docker", "buildx", "version"), (0, 10), "ppmctl engine"),
)
_TOOLS = (
    # Before 2.24, Compose has no inline configs and requires engine features that 20.10 lacks.
    _Tool("Compose", ("docker", "compose", "version", "--short"), (2, 24), "ppmctl engine"),
    _Tool("SSH client", ("ssh", "-V"), (7, 6), "Install OpenSSH's client: apt-get install openssh-client"),
    _Tool("git", ("git", "--version"), (2,), "Install git: apt-get install git"),
)


def examine(environment: Environment) -> list[Check]:
    """Check this machine and all hosts in parallel; return the results, this machine first."""
    tools = [*(_BUILD_TOOLS if environment.images.source == "build" else ()), *_TOOLS]
    with Pool() as pool:
        tool_jobs = [pool.start(_tool, tool) for tool in tools]
        host_jobs = [pool.start(_host, environment, address) for address in environment.hosts]
        local = [
            *(job.result() for job in tool_jobs),
            *(_file(environment, named) for named in files(environment)),
        ]
        return local + [check for job in host_jobs for check in job.result()]


def _file(environment: Environment, named: Named) -> Check:
    return Check(
        where=HERE,
        name=dotted(named.location),
        ok=named.wrong is None,
        found=named.wrong or str(named.path),
        wanted="an existing file that this user can read",
        fix=f"Fix it, or name another file in deploy/inventory/{environment.name}.yaml",
    )


def _tool(tool: _Tool) -> Check:
    output = ""
    if shutil.which(tool.argv[0]):
        try:
            result = subprocess.run(
                tool.argv, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=20, check=False
            )
            output = (result.stdout + result.stderr).strip()
        except subprocess.TimeoutExpired:
            output = "no answer within 20 s"
    version = version_in(output)
    return Check(
        where=HERE,
        name=tool.name,
        ok=version >= tool.oldest,
        found=_dotted(version) or output.partition("\n")[0] or "not installed",
        wanted=f"{_dotted(tool.oldest)} or newer",
        fix=tool.fix,
    )


def version_in(text: str) -> tuple[int, ...]:
    """Return the first version in a text: (20, 10, 24) in "Docker version 20.10.24+dfsg1"; () if there is none."""
    match = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _host(environment: Environment, address: HostAddress) -> list[Check]:
    wanted = f"login as {environment.ssh.user}@{address.address}"
    provision = f"ppmctl provision -e {environment.name}"

    def ssh_check(ok: bool, found: str, fix: str) -> Check:
        return Check(where=address.name, name="SSH", ok=ok, found=found, wanted=wanted, fix=fix)

    try:
        with Host.connect(environment, address) as host:
            return [ssh_check(True, "works", ""), _ppmctl(host), *judge(environment, read(host))]
    except HostKeyChanged as error:
        return [ssh_check(False, error.message, error.next or provision)]
    except (HostUnreachable, CommandFailed) as error:
        refused = "Permission denied" in (error.seen or "")
        return [ssh_check(False, error.seen or error.message, provision if refused else error.next or provision)]


def _ppmctl(host: Host) -> Check:
    error = version.look(host)
    found, fix = (error.message, error.next or "") if error else ("none", "")
    return Check(where=host.name, name="newer ppmctl", ok=error is None, found=found, wanted="none", fix=fix)


def judge(environment: Environment, facts: Readings) -> Iterator[Check]:
    """Given a host's readings, yield all its checks. Pure."""
    provision = f"ppmctl provision -e {environment.name}"
    checks = [_group, _engine, _daemon, _directory, _disk, _memory, _clock, _ports, _firewall, _journal]
    if environment.tls:
        checks.append(_ipv6)
    rows = [*(check(environment, facts) for check in checks), *hardening.findings(environment, facts)]
    for name, ok, found, wanted, fix in rows:
        yield Check(where=facts.host, name=name, ok=ok, found=found, wanted=wanted, fix=fix or provision)


def _group(environment: Environment, facts: Readings) -> Finding:
    groups, user = facts.one("groups").split(), environment.ssh.user
    return "user", "docker" in groups or user == "root", ", ".join(groups), f"{user} is in the group docker", ""


def _engine(_environment: Environment, facts: Readings) -> Finding:
    version = version_in(facts.one("engine"))
    wanted = f"{_dotted(MIN_ENGINE)} or newer (25 for start_interval of health checks)"
    fix = "Upgrade Docker on the host" if version else ""
    return "Docker engine", version >= MIN_ENGINE, facts.one("engine") or "no answer", wanted, fix


def _daemon(_environment: Environment, facts: Readings) -> Finding:
    wanted = "live-restore, log rotation, no userland proxy"
    try:
        wrong = change(facts.one("daemon"))
    except ValueError as error:
        return "daemon.json", False, str(error), wanted, f"Fix {PATH} on the host"
    return "daemon.json", wrong is None, "; ".join(wrong.differences) if wrong else "as required", wanted, ""


def _directory(environment: Environment, facts: Readings) -> Finding:
    ok = bool(facts.one("writable"))
    wanted = f"{environment.directory}, writable for {environment.ssh.user}"
    return "directory", ok, "writable" if ok else "missing, or not writable", wanted, ""


def _disk(_environment: Environment, facts: Readings) -> Finding:
    free = {mount: int(size) for size, mount in (value.split(" ", 1) for value in facts.all("free"))}
    least, mount = min(((size, mount) for mount, size in free.items()), default=(0, "?"))
    fix = f"Free space on {mount} (docker image prune; journalctl --vacuum-size=200M)"
    return "disk", least >= MIN_FREE, f"{least / _MIB:,.0f} MiB free on {mount}", f"{MIN_FREE / _MIB:,.0f} MiB", fix


def _memory(environment: Environment, facts: Readings) -> Finding:
    services = environment.services
    color = (services.api, services.frontend, services.worker)
    needed = sum(service.memory * service.replicas for service in color)
    needed += services.reverse_proxy.memory + services.steward.memory + environment.backup.memory
    free = int(facts.one("memory") or 0) * 1024  # the kernel counts in KiB
    fix = "Stop other programs on the host, lower services.*.memory, or use a larger host"
    wanted = f"{needed / _MIB:,.0f} MiB: an upgrade runs the new color alongside the old one"
    return "memory", free >= needed, f"{free / _MIB:,.0f} MiB available", wanted, fix


def _clock(_environment: Environment, facts: Readings) -> Finding:
    ok = abs(facts.clock_offset) - facts.uncertainty <= MAX_CLOCK_OFFSET
    found = f"{facts.clock_offset:+.2f} s ± {facts.uncertainty:.2f} s against {HERE}"
    fix = "Compare both with a third clock; fix the wrong one: timedatectl, or `provision.time_sync: true`"
    return "clock", ok, found, f"within {MAX_CLOCK_OFFSET:g} s", fix


def _ports(environment: Environment, facts: Readings) -> Finding:
    proxy = environment.proxy
    needed = [proxy.http_port, proxy.internal_port, *([proxy.https_port] if environment.tls else [])]
    ours = {int(port) for value in facts.all("ours") for port in re.findall(r":(\d+)->", value)}
    listening = {int(port) for port in facts.all("listening")}
    taken = [port for port in needed if port in listening - ours]
    found = ", ".join(f"{port} {'taken' if port in taken else 'ours' if port in ours else 'free'}" for port in needed)
    fix = (
        f"Find the listening process: sudo ss -ltnp 'sport = :{taken[0]}'; stop it, or change proxy.*_port"
        if taken
        else ""
    )
    return "ports", not taken, found, "free, or ours", fix


def _firewall(environment: Environment, facts: Readings) -> Finding:
    if not environment.provision.firewall:
        return "firewall", True, "not enabled", "provision.firewall: false", ""
    proxy, found = environment.proxy, facts.one("firewall")
    needed = [proxy.http_port, *([proxy.https_port] if environment.tls else [])]
    ports = re.findall(r"\d+", found)
    missing = {str(port) for port in needed} - set(ports)
    wanted = f"allows SSH and {', '.join(map(str, needed))}, and nothing else"
    return "firewall", bool(found) and not missing, f"allows {', '.join(ports)}" if found else "off", wanted, ""


def _journal(environment: Environment, facts: Readings) -> Finding:
    mode = facts.one("journal")
    wanted = "WAL: in another mode, writers fail while a backup reads the database"
    return (
        "database",
        mode != "rollback",
        mode or "unknown: no steward is running, or there is no database yet",
        wanted,
        (journal_mode.remedy(environment)),
    )


def _ipv6(environment: Environment, facts: Readings) -> Finding:
    here = sorted(set(facts.all("aaaa")) & set(facts.all("ipv6")))
    found = f"{environment.domain} is {', '.join(here)}, which is this host" if here else "it does not point here"
    fix = f"Remove the AAAA record of {environment.domain}; for IPv6 users, put a CDN in front of the host"
    return "IPv6 of the domain", not here, found, "does not point to a host: hosts serve IPv4 only", fix
