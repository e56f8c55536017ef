"""Rotation of secrets: what is signed with the value that the hosts run stays valid.

A rotation whose deploy failed, or an older checkout, leaves a value here that no host has. So the previous value, which
a release gets too, is the one that the hosts run, and not the last one stored here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ppmkit.actions import recover
from ppmkit.errors import HostUnreachable, PpmctlError, UsageError
from ppmkit.host.host import Host
from ppmkit.local.pool import Pool
from ppmkit.release.records import last_record
from ppmkit.secrets import kinds, manage, on_host
from ppmkit.secrets.kinds import PREVIOUS
from ppmkit.secrets.stores import open_store

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.release.model import Record

_NEGLIGIBLE = timedelta(hours=1)
"""How much shorter than promised a previous value may be accepted: a deploy takes time, too."""


def rotate(environment: Environment, name: str, value: str | None = None, *, revoke: bool = False) -> list[str]:
    """Give a secret a new value here, a generated one without ``value``; return what was done, one line each.

    If something may still be signed with the value that the hosts run, it is kept too, unless ``revoke`` says that it
    leaked. Raises UsageError when nothing can be or was changed, and HostUnreachable.
    """
    live = None if revoke else _live(environment, name)
    return manage.rotate(environment, name, value, live=live, revoke=revoke)


def replace(environment: Environment, name: str, value: str) -> list[str]:
    """Write a secret here; return what was done, one line each. The next deploy brings it to the hosts.

    The kept value and the errors are those of :func:`rotate`.
    """
    live = _live(environment, name)
    return manage.replace(environment, name, value, live=live)


def restart(environment: Environment, *, ended_only: bool = False) -> list[str]:
    """Restart a previous value's time now, if hosts still run that value; return what was done, one line each.

    Otherwise a rotation that reaches the hosts days later would end sessions early, or at once. With ``ended_only``,
    only values that would end at once are restarted. A host that cannot be reached is left out.
    """
    promised = environment.secrets.accept_previous
    store, lines = open_store(environment), []
    for name, value in old(environment, promised if ended_only else min(_NEGLIGIBLE, promised)).items():
        versions = _versions(name, _records(environment, lenient=True))
        if manage.version_of(name, value) in versions.values():
            store.write(name + PREVIOUS, value, datetime.now(UTC))
            lines.append(f"hosts still run {name}{PREVIOUS}: the period in which it is accepted starts now")
    return lines


def old(environment: Environment, age: timedelta) -> dict[str, str]:
    """Return {name: its previous value} of the secrets that were rotated at least ``age`` ago."""
    store, now = open_store(environment), datetime.now(UTC)
    since = store.since()
    names = [name for name in kinds.needed(environment) if name + PREVIOUS in since]
    values = {name: store.read(name + PREVIOUS) for name in names if now - since[name + PREVIOUS] >= age}
    return {name: value for name, value in values.items() if value}


def common(environment: str, name: str, versions: Mapping[str, str | None]) -> str | None:
    """Given {host: version of the secret that it runs}, return the common version, or None when no host runs any.

    Raises UsageError when the versions differ: only one value can be kept.
    """
    running = {host: version for host, version in versions.items() if version}
    if len(set(running.values())) > 1:
        raise UsageError(
            f"the hosts run different values of {name}; nothing was changed",
            seen="\n".join(f"{host}: version {version}" for host, version in running.items()),
            next=f"Deploy the value that is here to all of them: ppmctl deploy -e {environment}; then rotate it",
        )
    return next(iter(running.values()), None)


def _live(environment: Environment, name: str) -> str | None:
    """Return the value that the hosts run if it is to be kept; None if it is not, or there is none."""
    local_values = manage.here(environment, name) if kinds.keeps_previous(name) else {}
    if not local_values:  # nothing is to be kept, or this is the first value
        return None
    records = _records(environment)
    version = common(environment.name, name, _versions(name, records))
    if version is None:
        return None
    if version in local_values:
        return local_values[version]
    host = next(host for host, record in records.items() if record and record.release.secrets.get(name) == version)
    return _fetch(environment, host, name, version)


def _versions(name: str, records: Mapping[str, Record | None]) -> dict[str, str | None]:
    return {host: record.release.secrets.get(name) if record else None for host, record in records.items()}


def _records(environment: Environment, *, lenient: bool = False) -> dict[str, Record | None]:
    """Return {host: the record of its live release}; with ``lenient``, None for a host that cannot be read.

    Raises UsageError for a host between two releases.
    """

    def read(address: HostAddress) -> Record | None:
        if lenient:
            with suppress(PpmctlError):
                return _record(environment, address)
            return None
        return _record(environment, address)

    with Pool() as pool:
        return dict(zip([host.name for host in environment.hosts], pool.map(read, environment.hosts), strict=True))


def _record(environment: Environment, address: HostAddress) -> Record | None:
    try:
        with Host.connect(environment, address) as host:
            if unfinished := recover.unfinished(host):
                raise UsageError(
                    f"{host.name}: the {unfinished.intent.kind} of {unfinished.since:%F %T} has not finished; nothing "
                    "was changed",
                    host=host.name,
                    next=f"Wait for it, or run ppmctl resume or abort -e {environment.name}; then repeat this command",
                )
            return last_record(host)
    except HostUnreachable as error:
        unchanged = f"{error.message}. Nothing was changed, because the value that the host runs is not known"
        raise error.with_context(unchanged) from error


def _fetch(environment: Environment, host_name: str, name: str, version: str) -> str:
    """Return a value that is on a host but not here. Raises UsageError when it is not there either."""
    address = next(address for address in environment.hosts if address.name == host_name)
    with Host.connect(environment, address) as host:
        record = last_record(host)
        value = on_host.value(host, name, version, record.release.images.steward) if record else None
    if value is None:
        raise UsageError(
            f"{host_name} runs version {version} of {name}, which is neither here nor in its file there anymore",
            host=host_name,
            next=f"To continue without it: ppmctl secrets rotate {name} --revoke -e {environment.name}",
        )
    return value
