"""Scans of repositories, each within limits, and the folder that holds their mirrors."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.worker.address import AddressError, resolve
from app.worker.mirror import Found, Mirror
from app.worker.process import ExitError, LimitError, Limits, size
from app.worker.ssh import Ssh

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_LONGEST_ERROR = 500
_BY_SSH = "fatal: Could not read from remote repository."
"""What git prints whenever SSH fails; SSH prints the reason in the lines before."""


class GitError(Exception):
    """A repository could not be read. The text gives the reason, without credentials, and can be stored and shown."""

    def __init__(self, reason: str) -> None:
        text = _CREDENTIALS.sub("…@", reason)
        super().__init__("".join(filter(str.isprintable, text))[:_LONGEST_ERROR])


@dataclass(frozen=True)
class Git:
    """Scans repositories; :meth:`cancel` ends the running scans. Thread-safe."""

    mirrors: Path
    deadline_seconds: float
    mirror_bytes: int
    """Maximum size of one repository's mirror."""
    private: bool = False
    """Whether private addresses may be contacted."""
    files: Path | None = None
    """The folder on this server's disk whose repositories may be read."""
    ssh: Ssh | None = None
    """How to connect to hosts by SSH; None: not at all."""
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the running git processes, and start no more."""
        self._cancelled.set()

    def scan(self, url: str, known: str | None = None) -> Found | None:
        """Return the content of a repository's default branch; None when its last commit is still the known one.

        Raises GitError or Cancelled.
        """
        until = time.monotonic() + self.deadline_seconds
        limits = Limits(self.deadline_seconds, until, self.mirror(url), self.mirror_bytes, self._cancelled)
        try:
            address = resolve(url, private=self.private, files=self.files, ssh=self.ssh)
            return self._scan(Mirror(address, limits), known)
        except ExitError as error:
            raise GitError(_last_line(error.stderr) or f"git ended with status {error.status}") from error
        except (AddressError, LimitError) as error:
            raise GitError(str(error)) from error

    def _scan(self, mirror: Mirror, known: str | None) -> Found | None:
        tip = mirror.tip()
        if tip is None:
            return Found()
        if tip == known:
            return None
        try:
            mirror.fetch()
            return mirror.look()
        except Exception:
            shutil.rmtree(mirror.folder, ignore_errors=True)  # the mirror may be broken: the next scan starts over
            raise

    def mirror(self, url: str) -> Path:
        """Given a repository's address, return the folder of its mirror."""
        return self.mirrors / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.git"

    def tidy(self, kept_urls: set[str], most_bytes: int) -> None:
        """Delete the mirrors of all other repositories, and the least recently used of these until the rest fits."""
        kept = {self.mirror(url) for url in kept_urls}
        left = most_bytes
        for mirror in sorted(self.mirrors.glob("*.git"), key=_used, reverse=True):
            if mirror in kept:
                left -= size(mirror)
            if mirror not in kept or left < 0:
                shutil.rmtree(mirror, ignore_errors=True)


def _used(mirror: Path) -> float:
    """Return when a mirror was last written to; its folder may be deleted meanwhile."""
    try:
        return mirror.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _last_line(text: str) -> str:
    """Given git's stderr, return the line with the error; for an error of SSH, its last two lines."""
    before, by_ssh, _ = text.partition(_BY_SSH)
    lines = [line for line in before.splitlines() if line.strip()]
    if by_ssh and lines:
        return " ".join(lines[-2:])
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
    return (fatal or lines or [""])[-1]
