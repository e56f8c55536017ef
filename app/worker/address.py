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
from urllib.parse import unquote, urlsplit

PORTS = {"https": 443, "http": 80, "git": 9418}


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
        return self.url.partition(":")[0]


def resolve(url: str, *, private: bool, files: Path | None = None) -> Address:
    """Given a repository's URL, return where it is. Raises AddressError; unless ``private``, for a private one too.

    A file is one below ``files``. Where a proxy stands between, it is the proxy that looks the name up, and decides.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Address(_below(files, Path(unquote(parts.path))).as_uri())
    host = parts.hostname or ""
    if private or os.environ.get(f"{parts.scheme}_proxy") or os.environ.get(f"{parts.scheme.upper()}_PROXY"):
        return Address(url)
    try:
        port = parts.port or PORTS[parts.scheme]
        found = [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, ValueError) as error:
        raise AddressError(f"unable to look up {host}: {error}") from error
    for address in found:
        if not _public(address):
            raise AddressError(f"refused to connect to {host}: {address} is not a public address")
    if parts.scheme == "git":  # git's own protocol has no such option, and does not check the name
        return Address(parts._replace(netloc=f"{_bracketed(found[0])}:{port}").geturl())
    if host in found:
        return Address(url)
    return Address(url, ("-c", f"http.curloptResolve={host}:{port}:{','.join(map(_bracketed, found))}"))


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
