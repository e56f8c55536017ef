"""Where a repository's address leads: never to private addresses or to files, unless that is allowed.

Otherwise a user who may add a project could make the worker contact hosts that only it can reach (server-side request
forgery). A name is looked up once, and git is told to connect to the result: a second lookup could differ.
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
"""Networks in which the last 32 bits are an IPv4 address."""
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""RFC 8215: for use within one network, which decides which of the bits are an IPv4 address."""
_ISATAP = {0x00005EFE, 0x02005EFE}
"""The 32 bits before the last 32 bits, which are an IPv4 address: RFC 5214."""


class AddressError(Exception):
    """An address that cannot be looked up, or that must not be contacted."""


@dataclass(frozen=True)
class Address:
    """The address for git: a URL, and options that give the IP address of its host."""

    url: str
    options: tuple[str, ...] = ()

    @property
    def protocol(self) -> str:
        """The only protocol that git may use: a repository may name others."""
        return parse(self.url).scheme


def resolve(url: str, *, private: bool, files: Path | None = None, ssh: Ssh | None = None) -> Address:
    """Given a repository's URL, return its address. Raises AddressError, also for a private address unless ``private``.

    A file must be below ``files``. If a proxy is configured, the proxy looks the name up, and decides.
    """
    url = canonical(url)  # it may have been stored before the api did this
    parts = parse(url)
    if parts.scheme == "file":
        return Address(_below(files, Path(unquote(parts.path))).as_uri())
    host = parts.hostname or ""
    if parts.scheme not in PORTS:
        raise AddressError(f"{url[:50]} is not a repository address")
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise AddressError(f"unable to look up {host}: {error}") from error
    addresses = [] if private or _by_proxy(parts.scheme) else _look_up(host, port)
    if parts.scheme == "ssh":
        if ssh is None:
            raise AddressError("cannot fetch by SSH: there is no deploy key, or no host key is known")
        return Address(url, ssh.options(host, port, addresses[0] if addresses else None))
    if not addresses or (host in addresses and parts.scheme != "git"):
        return Address(url)
    if parts.scheme == "git":  # git's own protocol has no such option, and does not check the host name
        return Address(parts._replace(netloc=f"{_bracketed(addresses[0])}:{port}").geturl())
    return Address(url, ("-c", f"http.curloptResolve={host}:{port}:{','.join(map(_bracketed, addresses))}"))


def _by_proxy(scheme: str) -> bool:
    return scheme != "ssh" and bool(os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY"))


def _look_up(host: str, port: int) -> list[str]:
    """Return a host's addresses. Raises AddressError when it has none, or one of them is private."""
    try:
        addresses = [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, ValueError) as error:
        raise AddressError(f"unable to look up {host}: {error}") from error
    for address in addresses:
        if not _public(address):
            raise AddressError(f"refused to connect to {host}: {address} is not a public address")
    return addresses


def _below(folder: Path | None, path: Path) -> Path:
    """Return a path with its links resolved, if the result is below the folder. Raises AddressError."""
    resolved = path.resolve()
    if folder is None or not resolved.is_relative_to(folder.resolve()):
        raise AddressError("refused to read a repository on this server's disk")
    return resolved


def _public(address: str) -> bool:
    parsed = ip_address(address.partition("%")[0])
    inner = _inside(parsed) if isinstance(parsed, IPv6Address) else None
    return all(one.is_global and not one.is_multicast for one in (parsed, inner) if one)


def _inside(address: IPv6Address) -> IPv4Address | IPv6Address | None:
    """Return the address that packets to this one finally reach, if this one contains another address."""
    if address in _LOCAL_NAT64:
        return IPv6Address(0)  # only that network knows which one
    last, before = IPv4Address(int(address) & 0xFFFFFFFF), int(address) >> 32 & 0xFFFFFFFF
    if before in _ISATAP or any(address in network for network in _TRANSLATED):
        return last
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
