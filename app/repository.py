"""What the address of a repository may look like: the api refuses others, the worker does not ask them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

PORTS = {"https": 443, "http": 80, "git": 9418, "ssh": 22}
_SHORT = re.compile(r"(?P<host>\w[\w.-]*@\w[\w.-]*):(?P<path>[^:\s].*)", re.ASCII)
_USER = re.compile(r"\w[\w.-]*", re.ASCII)


def parse(url: str) -> SplitResult:
    """Return the parts of an address; of git's short form for SSH, user@host:path, as if it began with ssh://."""
    short = _SHORT.fullmatch(url)
    return urlsplit(f"ssh://{short['host']}/{short['path'].lstrip('/')}" if short else url)


def canonical(url: str) -> str:
    """Return an address with its scheme in lower case: git knows no HTTP://."""
    return url if _SHORT.fullmatch(url) else (scheme := urlsplit(url).scheme) + url[len(scheme) :]


def fetchable(url: str) -> str:
    """Given a repository's address, return its canonical form if git can fetch from it without a secret in it.

    Raises ValueError. Whether this server does fetch from files and by SSH is up to its settings.
    """
    url, parts = canonical(url), parse(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return url
    if parts.scheme not in PORTS or not parts.hostname or not parts.path.strip("/"):
        begins = ", ".join(f"{scheme}://" for scheme in PORTS)
        raise ValueError(f"not a repository's address; it begins with {begins}, or is user@host:path")
    by_ssh = parts.scheme == "ssh"  # whose user is the same for all, and no secret
    if parts.password is not None or (parts.username is not None and not by_ssh):
        raise ValueError("an address with a user or a password is not kept: it would end up in logs and backups")
    if parts.username is not None and not _USER.fullmatch(parts.username):
        raise ValueError("no user has such a name")
    if parts.port == 0:  # one that is out of range is an error of its own
        raise ValueError("there is no port 0")
    if " " in url:
        raise ValueError("an address has no spaces")
    return url
