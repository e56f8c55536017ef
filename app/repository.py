"""Valid repository addresses: the api refuses others, and the worker does not contact them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

PORTS = {"https": 443, "http": 80, "git": 9418, "ssh": 22}
_SHORT = re.compile(r"(?P<host>\w[\w.-]*@\w[\w.-]*):(?P<path>[^:\s].*)", re.ASCII)
_USER = re.compile(r"\w[\w.-]*", re.ASCII)


def parse(url: str) -> SplitResult:
    """Return the parts of an address; git's short form for SSH, user@host:path, is read as if it began with ssh://."""
    short = _SHORT.fullmatch(url)
    return urlsplit(f"ssh://{short['host']}/{short['path'].lstrip('/')}" if short else url)


def canonical(url: str) -> str:
    """Return an address with its scheme in lower case: git does not know HTTP://."""
    return url if _SHORT.fullmatch(url) else (scheme := urlsplit(url).scheme) + url[len(scheme) :]


def fetchable(url: str) -> str:
    """Given a repository's address, return its canonical form if git can fetch from it and it contains no secret.

    Raises ValueError. The server's settings decide whether it fetches from files and by SSH.
    """
    url, parts = canonical(url), parse(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return url
    if parts.scheme not in PORTS or not parts.hostname or not parts.path.strip("/"):
        schemes = ", ".join(f"{scheme}://" for scheme in PORTS)
        raise ValueError(f"not a repository address: it must begin with {schemes}, or be user@host:path")
    by_ssh = parts.scheme == "ssh"  # an SSH user is the same for all, and not a secret
    if parts.password is not None or (parts.username is not None and not by_ssh):
        raise ValueError("an address must not contain a user or a password: it would end up in logs and backups")
    if parts.username is not None and not _USER.fullmatch(parts.username):
        raise ValueError("the address's user name is invalid")
    if parts.port == 0:  # for a port that is out of range, reading it raises ValueError
        raise ValueError("port 0 is invalid")
    if " " in url:
        raise ValueError("an address must not contain spaces")
    return url
