"""Where a repository's address leads: never to this network's own machines, nor to files, unless that is allowed.

Whoever may add a project could otherwise let the worker knock at whatever only it can reach (server-side request
forgery). A name is looked up once and git is told to go there: a second look-up could give another answer.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import unquote

from app.repository import PORTS, canonical, parse
from app.worker.ssh import Ssh

_TRANSLATED = tuple(
    IPv6Network(prefix)
    for prefix in (
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0:0/96",  # SIIT, RFC 2765
        "64:ff9b::/96",  # NAT64, RFC 6052
    )
)
"""Where the last 32 bits are an IPv4 address."""
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""RFC 8215: of one network's own; which of the bits are an IPv4 address is up to that."""
_ISATAP = {0x00005EFE, 0x02005EFE}
"""What stands before the last 32 bits, an IPv4 address: RFC 5214."""


class AddressError(Exception):
    """An address that leads nowhere, or where it must not."""


@dataclass(frozen=True)
class Address:
    """What git is given: a URL, and options that say where its host is."""

    url: str
    options: tuple[str, ...] = ()

    @property
    def protocol(self) -> str:
        """The only one that git may speak: a repository may name others."""
        return parse(self.url).scheme


def resolve(url: str, *, private: bool, files: Path | None = None, ssh: Ssh | None = None) -> Address:
    """Given a repository's URL, return where it is. Raises AddressError; unless ``private``, for a private one too.

    A file is one below ``files``. Where a proxy stands between, it is the proxy that looks the name up, and decides.
    """
    url = canonical(url)  # it may have been kept before the api saw to that
    parts = parse(url)
    if parts.scheme == "file":
        return Address(_below(files, Path(unquote(parts.path))).as_uri())
    host = parts.hostname or ""
    if parts.scheme not in PORTS:
        raise AddressError(f"{url[:50]} is no repository's address")
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise AddressError(f"unable to look up {host}: {error}") from error
    found = [] if private or _by_proxy(parts.scheme) else _look_up(host, port)
    if parts.scheme == "ssh":
        if ssh is None:
            raise AddressError("there is no deploy key here, or no host whose key is known: nothing is fetched by SSH")
        return Address(url, ssh.options(host, port, found[0] if found else None))
    if not found or (host in found and parts.scheme != "git"):
        return Address(url)
    if parts.scheme == "git":  # git's own protocol has no such option, and does not check the name
        return Address(parts._replace(netloc=f"{_bracketed(found[0])}:{port}").geturl())
    return Address(url, ("-c", f"http.curloptResolve={host}:{port}:{','.join(map(_bracketed, found))}"))


def _by_proxy(scheme: str) -> bool:
    return scheme != "ssh" and bool(os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY"))


def _look_up(host: str, port: int) -> list[str]:
    """Return a host's addresses. Raises AddressError when it has none, or one of them is private."""
    try:
        found = [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, ValueError) as error:
        raise AddressError(f"unable to look up {host}: {error}") from error
    for address in found:
        if not _public(address):
            raise AddressError(f"refused to connect to {host}: {address} is not a public address")
    return found


def _below(folder: Path | None, path: Path) -> Path:
    """Return where a path leads to, if that is below the folder. Raises AddressError."""
    found = path.resolve()
    if folder is None or not found.is_relative_to(folder.resolve()):
        raise AddressError("refused to read a repository of this machine's files")
    return found


def _public(address: str) -> bool:
    parsed = ip_address(address.partition("%")[0])
    inner = _inside(parsed) if isinstance(parsed, IPv6Address) else None
    return all(one.is_global and not one.is_multicast for one in (parsed, inner) if one)


def _inside(address: IPv6Address) -> IPv4Address | IPv6Address | None:
    """Return the address that packets to this one go to in the end, if another one is written in it."""
    if address in _LOCAL_NAT64:
        return IPv6Address(0)  # which one, only that network knows
    last, before = IPv4Address(int(address) & 0xFFFFFFFF), int(address) >> 32 & 0xFFFFFFFF
    if before in _ISATAP or any(address in network for network in _TRANSLATED):
        return last
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
