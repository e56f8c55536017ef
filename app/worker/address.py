"""Where a repository's address leads: never to this network's own machines, nor to files, unless that is allowed.

Whoever may add a project could otherwise let the worker knock at whatever only it can reach (server-side request
forgery). A name is looked up once and git is told to go there: a second look-up could give another answer.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

from app.repository import PORTS, parse
from app.worker.ssh import Ssh


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
    mapped = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
    return parsed.is_global and not parsed.is_multicast and (mapped is None or mapped.is_global)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
