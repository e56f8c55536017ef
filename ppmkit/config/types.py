"""Types of the values in an environment's file: durations, sizes, names. Pure."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BINARY = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))
_NOT_IN_HOSTS = re.compile(r"[\s\x00-\x1f\x7f'`\"$\\;&<>|(){}\[\]]")
"""Characters that OpenSSH does not allow in a host name (valid_hostname in its ssh.c)."""
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")


def _duration(value: Any) -> Any:
    """Given "30s" or "1.5h", return seconds. A number without a unit is an error; pydantic checks other types."""
    if isinstance(value, str):
        match = _DURATION.match(value.strip())
        if not match:
            raise ValueError(f"not a duration: {value!r}; write a number and a unit: 500ms, 30s, 5m, 1h, 7d")
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a duration needs a unit: write {value}s, {value}m or {value}h")  # noqa: TRY004
    return value


def _written(duration: timedelta) -> str:
    """Given a duration, return it in the format of an environment's file: 90s, 1.5s."""
    return f"{duration.total_seconds():.15g}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_written, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["30s", "5m"]}),
]


def _size(size: int) -> str:
    """Given bytes, return them in the format of an environment's file: 256MiB, 100B."""
    unit, factor = next(((name, 1 << shift) for name, shift in _BINARY if size and size % (1 << shift) == 0), ("B", 1))
    return f"{size // factor}{unit}"


Bytes = Annotated[
    ByteSize,
    PlainSerializer(_size, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKMGT]i?)?B?$", "examples": ["256MiB"]}),
]
Port = Annotated[int, Field(ge=1, le=65535)]
NAME = r"^[a-z][a-z0-9-]{0,31}$"
NAME_IN_WORDS = "lowercase letters, digits and hyphens, starting with a letter, at most 32 characters"
Name = Annotated[str, Field(pattern=NAME)]


def _address(address: str) -> str:
    """Return a server's name or address. Raises ValueError for anything else, and says where the other parts belong."""
    user, at, host = address.rpartition("@")
    scheme, slashes, rest = address.partition("://")
    inner, bracket, port = address.removeprefix("[").partition("]")
    name, colon, number = address.partition(":")
    if not address:
        raise ValueError("it is empty; write a DNS name, an IP address or a Host of ~/.ssh/config")
    if slashes:
        raise ValueError(f"{address!r} is a URL; write only the name or address: {rest.rstrip('/') or scheme!r}")
    if at:
        raise ValueError(f"{address!r} contains a user; write {host!r} here, and set `ssh.user: {user}`")
    if bracket and address.startswith("["):
        and_port = f", and add `port: {port[1:]}`" if port else ""
        raise ValueError(f"{address!r} has brackets; write {inner!r} here{and_port}")
    if colon and not _is_ip(address):
        if ":" in number:
            raise ValueError(f"{address!r} is not an IPv6 address")
        raise ValueError(f"{address!r} contains a port; write {name!r} here, and add `port: {number}`")
    if address.startswith("-"):
        raise ValueError(f"{address!r} begins with a hyphen, so SSH would read it as an option")
    if wrong := _NOT_IN_HOSTS.search(address):
        raise ValueError(f"{address!r} contains {wrong[0]!r}, which is not allowed in a host name")
    return address


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


Address = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[^-\s@\[\]][^\s@\[\]]*$", "examples": ["web-1.example.org", "::1"]}
    ),
]
Recipient = Annotated[str, Field(pattern=r"^(age1[0-9a-z]+|ssh-(ed25519|rsa) \S+( .*)?)$")]
Group = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+(/[A-Za-z0-9._-]+)?$", examples=["acme", "acme/ops"])]
KnownHost = Annotated[
    str,
    Field(pattern=r"^[^\s$#@]+ (ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/=]+$", examples=["git.example.org ssh-ed25519 AAAA…"]),
]
UrlPath = Annotated[str, Field(pattern=r"^/\S*$", examples=["/api/system"])]


class Model(BaseModel):
    """Frozen and closed: an unknown key is an error and is never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
