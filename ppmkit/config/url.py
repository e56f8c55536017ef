"""The `url` of an environment: a scheme and a name that browsers, Traefik and a CA all read the same way. Pure."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import Annotated

import idna
from pydantic import AfterValidator, WithJsonSchema

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""Browsers read a name as an IP address if the part after its last dot matches this:
https://url.spec.whatwg.org/#ends-in-a-number-checker."""
_LONGEST_LABEL, _LONGEST_NAME = 63, 253
"""In bytes, by RFC 1035."""


def canonical(url: str) -> str:
    """Given the URL from an environment's file, return it in lowercase and ASCII, without a trailing slash.

    https://Bücher.example.org/ becomes https://xn--bcher-kva.example.org. Raises ValueError that says what is wrong.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in ("http", "https") or not separator:
        raise ValueError(f"{url!r} does not begin with http:// or https://")
    if "@" in rest:
        raise ValueError("remove the user name before the @")
    authority, _, path = re.sub(r"[/?#]", "/\\g<0>", rest, count=1).partition("/")
    if path not in ("", "/"):
        raise ValueError(f"remove {path!r} after the name: the application uses the whole domain")
    if authority.startswith("[") or authority.count(":") > 1:
        raise ValueError("an IPv6 address cannot be used: hosts serve users over IPv4 only (docs/decisions/0009)")
    name, colon, port = authority.partition(":")
    return f"{scheme}://{_host(name)}{f':{_port(port)}' if colon else ''}"


def is_address(host: str) -> bool:
    """Return whether this is an IPv4 address and not a name."""
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _port(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    raise ValueError(f"{text!r} is not a port: write a number from 1 to 65535, or remove the colon")


def _host(name: str) -> str:
    if is_address(name):
        return name
    for sign, why in (("*", "the URL must be one name, without a *"), ("_", "browsers and CAs allow no _ in a name")):
        if sign in name:
            raise ValueError(f"{name!r}: {why}")
    host = name.lower() if name.isascii() else _ascii(name)
    labels = host.split(".")
    if not host:
        raise ValueError("the name is missing")
    if not all(labels):
        raise ValueError(f"{name!r} has an empty part: remove the dot at its start or end, or one of two dots in a row")
    for label in labels:
        _check_label(label)
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{name!r} ends in a number but is not an IPv4 address")
    if len(host) > _LONGEST_NAME:
        raise ValueError(f"the name has {len(host)} characters; DNS allows {_LONGEST_NAME}")
    return host


def _check_label(label: str) -> None:
    if len(label) > _LONGEST_LABEL:
        raise ValueError(f"{label!r} has {len(label)} characters; DNS allows {_LONGEST_LABEL} between two dots")
    if not _LABEL.fullmatch(label):
        raise ValueError(f"{label!r}: a name may have only letters, digits and hyphens, with no hyphen first or last")
    if label[2:4] == "--":  # an encoded name, or one that DNS reserves for another encoding
        try:
            idna.decode(label)
        except idna.IDNAError as error:
            raise ValueError(f"{label!r} is not the ASCII form of any name: {error}") from error


def _ascii(name: str) -> str:
    """Return an internationalized name in ASCII, as browsers do (UTS 46)."""
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"{name!r} has no ASCII form: {error}") from error


PublicUrl = Annotated[
    str,
    AfterValidator(canonical),
    WithJsonSchema({"type": "string", "pattern": r"^https?://[^/?#@\s]+/?$", "examples": ["https://ppm.example.org"]}),
]
