"""Management of an environment's secrets: read, create, validate and rotate them.

``stores.py`` stores the values on this machine, ``on_host.py`` on a host. On a host, each version is a separate,
immutable file, so a release names exactly the values it ran with.
"""

from __future__ import annotations

import base64
import hashlib
import secrets as random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ppmkit import redact
from ppmkit.config.environment import Model
from ppmkit.errors import ConfigError, UsageError
from ppmkit.paths import KIT
from ppmkit.proxy import certificates
from ppmkit.secrets import rclone
from ppmkit.secrets.kinds import PREVIOUS, kind_of, known, needed
from ppmkit.secrets.stores import open_store

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.secrets.stores import Store

_MIN_DIFFERENT = 8
"""Minimum number of distinct characters. A long random value never has fewer."""


_EXAMPLE = "Purpose: "
"""The start of every one-line example; the rest differs between versions of ppmctl."""


class Secret(Model):
    """One version of a secret."""

    name: str
    version: str
    """Eight hex digits derived from the value: too few, and too slow to compute, to guess the value from them."""
    value: SecretStr


def read(environment: Environment) -> dict[str, Secret]:
    """Return the secrets for the environment's release, by name: those that it needs, and the previous values that
    are still accepted after a rotation. Raises ConfigError, which names every invalid one."""
    store = open_store(environment)
    values = {name: store.read(name) for name in needed(environment)}
    faults = [fault for name, value in values.items() if (fault := _fault(store, name, value))]
    if faults := faults or _unfit_certificate(values):
        raise ConfigError(
            f"secrets of {environment.name}: {'; '.join(faults)}",
            step="secrets",
            next=f"ppmctl secrets init -e {environment.name} generates what it can and says what else to do",
        )
    for name in _still_accepted(environment, store):
        if value := store.read(name):
            values[name] = _with_expiry(environment, value, store.since().get(name))
    return {name: _secret(name, value) for name, value in values.items() if value}


def init(environment: Environment, ask: Callable[[str], str] | None = None) -> list[str]:
    """Generate secrets where possible, and ask for the others; return what was done and what remains to be done, one
    line each."""
    store, lines = open_store(environment), []
    if message := store.prepare():
        lines.append(message)
    for name in needed(environment):
        if store.read(name) is not None:
            continue
        if not store.writable:
            lines.append(f"{name} is missing; create it in its store: {store.shown(name)}")
        elif kind_of(name).generated:
            store.write(name, _generate(), datetime.now(UTC))
            lines.append(f"created {store.shown(name)}")
        elif ask:
            lines.append(f"wrote {set_secret(environment, name, ask(name))}")
        else:
            lines.append(f"{name} cannot be generated; set it: ppmctl secrets set {name} -e {environment.name}")
    return lines


def set_secret(environment: Environment, name: str, value: str) -> str:
    """Write a secret here and return its location; the next deploy sends it to the hosts. Raises UsageError."""
    replace(environment, name, value)
    return open_store(environment).shown(name)


def replace(environment: Environment, name: str, value: str, *, live: str | None = None) -> list[str]:
    """Write a secret here, and the hosts' value (``live``), if given, as its previous value; return what was written,
    one line each. Raises UsageError."""
    kind_of(name)
    if fault := _unfit(name, value):
        again = f"ppmctl secrets set {name} -e {environment.name}"
        raise UsageError(f"{name} {fault}; nothing was changed", next=again)
    return _write(open_store(environment), name, value, live)


def here(environment: Environment, name: str) -> dict[str, str]:
    """Return {version: value} of the secret on this machine: the previous value, if any, and the current one."""
    store = open_store(environment)
    values = [store.read(stored) for stored in (name + PREVIOUS, name)]
    return {version_of(name, value): value for value in values if value}


def rotate(
    environment: Environment, name: str, value: str | None = None, *, live: str | None = None, revoke: bool = False
) -> list[str]:
    """Set a secret to a new value here (default: a generated one); return what was written, one line each.

    If existing signatures may depend on the hosts' value (``live``; default: the one here), it is kept as the previous
    value, unless ``revoke`` says that it leaked. Raises UsageError if nothing was changed.
    """
    kind, store = kind_of(name), open_store(environment)
    old = store.read(name)
    if name not in needed(environment) or old is None:
        init = f"ppmctl secrets init -e {environment.name}"
        raise UsageError(f"{environment.name} has no {name} to rotate", next=init)
    new = value if value is not None else _generate()
    if fault := "already has this value" if new == old else _unfit(name, new):
        again = f"ppmctl secrets rotate {name} -e {environment.name}"
        raise UsageError(f"{name} {fault}; nothing was changed", next=again)
    if revoke and kind.keeps_previous:
        store.remove(name + PREVIOUS)
    return _write(store, name, new, (live or old) if kind.keeps_previous and not revoke else None)


def check(environment: Environment) -> list[str]:
    """Return the problems of the secrets here, one line each: missing, weak, expired, readable by others, unused."""
    store = open_store(environment)
    values = {name: store.read(name) for name in needed(environment)}
    faults = [fault for name, value in values.items() if (fault := _fault(store, name, value))]
    faults = faults or _unfit_certificate(values) or list(_expiring_certificate(environment, values))
    return [*faults, *store.exposed(), *_expired(environment, store), *_unused(environment, store)]


def version_of(name: str, value: str) -> str:
    """Return the version of a value of this secret. It takes 50 ms on purpose, to slow down guessing."""
    stretched = hashlib.scrypt(value.encode(), salt=f"ppmctl/{name}".encode(), n=1 << 14, r=8, p=1, dklen=4)
    return stretched.hex()


def _write(store: Store, name: str, value: str, previous: str | None) -> list[str]:
    """Write a value. The previous one is written first, so that it is never missing."""
    now, lines = datetime.now(UTC), []
    if previous is not None and previous != value:
        store.write(name + PREVIOUS, previous, now)
        lines.append(f"wrote {store.shown(name + PREVIOUS)}")
    store.write(name, value, now)
    return [*lines, f"wrote {store.shown(name)}"]


def _generate() -> str:
    return base64.b64encode(random.token_bytes(32)).decode()


def _secret(name: str, value: str) -> Secret:
    redact.learn(value)
    return Secret(name=name, version=version_of(name, value), value=SecretStr(value))


def _fault(store: Store, name: str, value: str | None) -> str | None:
    if value is None:
        return f"{name} is missing ({store.shown(name)})"
    redact.learn(value)
    fault = _unfit(name, value)
    return f"{name} {fault} ({store.shown(name)})" if fault else None


def _unfit(name: str, value: str) -> str | None:
    kind, example = kind_of(name), KIT / "secrets.example" / name
    if value.startswith(_EXAMPLE) or (example.is_file() and value == example.read_text(encoding="utf-8").strip()):
        return "is still the example"
    if len(value) < kind.min_length:
        return f"is shorter than {kind.min_length} characters"
    if kind.pem and not value.startswith("-----BEGIN "):
        return "is not PEM: a PEM begins with -----BEGIN"
    if len(set(value)) < min(_MIN_DIFFERENT, kind.min_length):
        return f"is weak: it has fewer than {_MIN_DIFFERENT} different characters"
    return rclone.unfit(value) if name == "rclone_conf" else None


def _unfit_certificate(values: Mapping[str, str | None]) -> list[str]:
    """Return why the proxy could not use the custom certificate among these values, if there is one."""
    chain, key = values.get("tls_certificate"), values.get("tls_key")
    fault = certificates.unfit(chain, key) if chain and key else None
    return [fault] if fault else []


def _expiring_certificate(environment: Environment, values: Mapping[str, str | None]) -> Iterator[str]:
    if chain := values.get("tls_certificate"):
        valid, description = certificates.verdict_of(chain, environment.domain, datetime.now(UTC))
        if not valid:
            yield f"tls_certificate: {description}"


def _previous(environment: Environment) -> list[str]:
    return [name + PREVIOUS for name in needed(environment) if kind_of(name).keeps_previous]


def _still_accepted(environment: Environment, store: Store) -> list[str]:
    """Return the names of previous values that a release still gets. One without a date is always included."""
    since, now = store.since(), datetime.now(UTC)
    return [
        name
        for name in _previous(environment)
        if name not in since or now - since[name] < environment.secrets.accept_previous
    ]


def _with_expiry(environment: Environment, value: str, since: datetime | None) -> str:
    """Return a previous value with a line that tells the application when it expires, if that is known."""
    if since is None:
        return value
    return f"{value}\nuntil {(since + environment.secrets.accept_previous).isoformat(timespec='seconds')}"


def _expired(environment: Environment, store: Store) -> Iterator[str]:
    now = datetime.now(UTC)
    for name, since in store.since().items():
        age = now - since
        if name in needed(environment) and age > environment.secrets.max_age:
            yield (
                f"{name} has been the same for {age.days} days, longer than secrets.max_age: "
                f"ppmctl secrets rotate {name} -e {environment.name}"
            )


def _unused(environment: Environment, store: Store) -> Iterator[str]:
    accepted, previous = _still_accepted(environment, store), _previous(environment)
    for name in store.names():
        if name in previous and name not in accepted:
            fix = f"when the hosts have the new value, remove {store.shown(name)}, then deploy"
            yield f"{name} is no longer accepted: {fix}"
        elif known(name) and name not in needed(environment):
            yield f"{name} is not used by {environment.name}: remove {store.shown(name)}"
        elif not known(name) and name not in previous:
            yield f"{store.shown(name)} is not a known secret"
