"""Giving a secret another value: what is signed with the one that the hosts run stays good.

A rotation whose deploy failed, or an older checkout, leaves a value here that no host has. So the value before, which a
release gets too, is the one that the hosts run, and not the one that lay here last.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ppmkit.actions import recover
from ppmkit.errors import HostUnreachable, PpmctlError, UsageError
from ppmkit.host.host import Host
from ppmkit.local.pool import Crew
from ppmkit.release.records import last_record
from ppmkit.secrets import kinds, manage, on_host
from ppmkit.secrets.kinds import PREVIOUS
from ppmkit.secrets.stores import open_store

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.release.model import Record

_NEGLIGIBLE = timedelta(hours=1)
"""By so much the time of a value before may be shorter than promised: a deploy takes a while, too."""


def rotate(environment: Environment, name: str, value: str | None = None, *, revoke: bool = False) -> list[str]:
    """Give a secret a new value here, a generated one without ``value``; return what was done, one line each.

    The value that the hosts run is kept beside it where something may still be signed with it, unless ``revoke`` says
    that it leaked. Raises UsageError when nothing can be or was changed, and HostUnreachable.
    """
    live = None if revoke else _live(environment, name)
    return manage.rotate(environment, name, value, live=live, revoke=revoke)


def replace(environment: Environment, name: str, value: str) -> list[str]:
    """Write a secret here; return what was done, one line each. The next deploy brings it to the hosts.

    What is kept beside it, and what is raised, is as :func:`rotate` has it.
    """
    live = _live(environment, name)
    return manage.replace(environment, name, value, live=live)


def restart(environment: Environment, *, ended_only: bool = False) -> list[str]:
    """Let the time of a value before begin now, if hosts still run that one; return what was done, one line each.

    Else a rotation that reaches the hosts days later would end sessions early, or at once. With ``ended_only`` only
    what would end at once counts. A host that cannot be asked is left out.
    """
    promised = environment.secrets.accept_previous
    store, lines = open_store(environment), []
    for name, value in old(environment, promised if ended_only else min(_NEGLIGIBLE, promised)).items():
        versions = _versions(name, _records(environment, lenient=True))
        if manage.version_of(name, value) in versions.values():
            store.write(name + PREVIOUS, value, datetime.now(UTC))
            lines.append(f"hosts still run {name}{PREVIOUS}: the time that it is accepted for begins now")
    return lines


def old(environment: Environment, age: timedelta) -> dict[str, str]:
    """Return {name: value of before the rotation} of the secrets that were rotated so long ago, or longer."""
    store, now = open_store(environment), datetime.now(UTC)
    since = store.since()
    names = [name for name in kinds.needed(environment) if name + PREVIOUS in since]
    found = {name: store.read(name + PREVIOUS) for name in names if now - since[name + PREVIOUS] >= age}
    return {name: value for name, value in found.items() if value}


def common(environment: str, name: str, versions: Mapping[str, str | None]) -> str | None:
    """Given {host: version of the secret that it runs}, return the one version, or None where none runs any.

    Raises UsageError where they differ: only one value can be kept.
    """
    found = {host: version for host, version in versions.items() if version}
    if len(set(found.values())) > 1:
        raise UsageError(
            f"the hosts run different values of {name}; nothing was changed",
            seen="\n".join(f"{host}: version {version}" for host, version in found.items()),
            next=f"ppmctl deploy -e {environment} gives all of them the one that is here; then rotate it",
        )
    return next(iter(found.values()), None)


def _live(environment: Environment, name: str) -> str | None:
    """Return the value that the hosts run, where it is to be kept; None where it is not, or there is none."""
    here = manage.here(environment, name) if kinds.keeps_previous(name) else {}
    if not here:  # nothing is to be kept, or this is the first value
        return None
    records = _records(environment)
    version = common(environment.name, name, _versions(name, records))
    if version is None:
        return None
    if version in here:
        return here[version]
    host = next(host for host, record in records.items() if record and record.release.secrets.get(name) == version)
    return _fetch(environment, host, name, version)


def _versions(name: str, records: Mapping[str, Record | None]) -> dict[str, str | None]:
    return {host: record.release.secrets.get(name) if record else None for host, record in records.items()}


def _records(environment: Environment, *, lenient: bool = False) -> dict[str, Record | None]:
    """Return {host: the record of what serves there}; with ``lenient``, None for a host that cannot tell.

    Raises UsageError for a host between two releases.
    """

    def asked(address: HostAddress) -> Record | None:
        if lenient:
            with suppress(PpmctlError):
                return _record(environment, address)
            return None
        return _record(environment, address)

    with Crew() as crew:
        return dict(zip([host.name for host in environment.hosts], crew.map(asked, environment.hosts), strict=True))


def _record(environment: Environment, address: HostAddress) -> Record | None:
    try:
        with Host.connect(environment, address) as host:
            if found := recover.unfinished(host):
                raise UsageError(
                    f"{host.name}: the {found.intent.kind} of {found.since:%F %T} has not ended; nothing was changed",
                    host=host.name,
                    next=f"Wait for it, or ppmctl resume or abort -e {environment.name}; then run the command again",
                )
            return last_record(host)
    except HostUnreachable as error:
        unchanged = f"{error.message}. Nothing was changed: it is not known which value the host runs"
        raise error.with_context(unchanged) from error


def _fetch(environment: Environment, name_of_host: str, name: str, version: str) -> str:
    """Return a value that is on a host and not here. Raises UsageError when it is not there either."""
    address = next(address for address in environment.hosts if address.name == name_of_host)
    with Host.connect(environment, address) as host:
        record = last_record(host)
        value = on_host.value(host, name, version, record.release.images.steward) if record else None
    if value is None:
        raise UsageError(
            f"{name_of_host} runs version {version} of {name}, which is neither here nor in its file there any more",
            host=name_of_host,
            next=f"To go on without it: ppmctl secrets rotate {name} --revoke -e {environment.name}",
        )
    return value
