"""What a repository's default branch holds: a bare mirror of the commits alone, by the git binary."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_BRANCH = "refs/heads/scan"
_INHERITED = ("PATH", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "https:http:git",
    "GIT_ASKPASS": "true",  # never asks anybody: a repository that wants a password fails
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
_IN_FOREGROUND = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class GitError(Exception):
    """A repository could not be read. The text is git's last line, without credentials."""


class Cancelled(Exception):
    """The worker ends; the scan is neither a success nor a failure."""


@dataclass(frozen=True)
class Found:
    """The default branch. An empty repository has no last commit."""

    last_commit: str | None
    last_commit_at: datetime | None
    commits: int
    contributors: int
    """Different e-mail addresses of authors, without regard to case."""


class Git:
    """Scans repositories, each with a deadline; :meth:`cancel` ends the one that runs."""

    def __init__(self, mirrors: Path, deadline_seconds: float) -> None:
        self.mirrors, self.deadline_seconds = mirrors, deadline_seconds
        self._environment = _ENVIRONMENT | {key: os.environ[key] for key in _INHERITED if key in os.environ}
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End the git that runs, and let no other begin."""
        self._cancelled.set()

    def scan(self, url: str) -> Found:
        """Return what the default branch of a repository holds. Raises GitError or Cancelled."""
        until = time.monotonic() + self.deadline_seconds
        if not self._run(until, "ls-remote", "--", url, "HEAD").strip():
            return Found(None, None, 0, 0)
        mirror = self.mirror(url)
        try:
            self._fetch(until, mirror, url)
            return self._look(until, mirror)
        except (GitError, Cancelled):
            shutil.rmtree(mirror, ignore_errors=True)  # it may be what is broken: the next scan begins anew
            raise

    def mirror(self, url: str) -> Path:
        """Given a repository's address, return where its mirror lies."""
        return self.mirrors / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.git"

    def forget(self, kept_urls: set[str]) -> None:
        """Delete the mirrors of all other repositories."""
        kept = {self.mirror(url) for url in kept_urls}
        for mirror in self.mirrors.glob("*.git"):
            if mirror not in kept:
                shutil.rmtree(mirror, ignore_errors=True)

    def _fetch(self, until: float, mirror: Path, url: str) -> None:
        self._run(until, "init", "--quiet", "--bare", str(mirror))
        self._run(until, "-C", str(mirror), "config", "remote.origin.url", url)
        fetch = ("fetch", "--quiet", "--no-tags", "--force", "--filter=tree:0", "origin", f"+HEAD:{_BRANCH}")
        self._run(until, *_IN_FOREGROUND, "-C", str(mirror), *fetch)

    def _look(self, until: float, mirror: Path) -> Found:
        """Return what the fetched branch holds. Git counts: a long history must fit into little memory."""
        at = ("-C", str(mirror))
        commit, _, committed = self._run(until, *at, "log", "-1", "--format=%H %ct", _BRANCH).strip().partition(" ")
        commits = int(self._run(until, *at, "rev-list", "--count", _BRANCH))
        authors = self._run(until, *at, "shortlog", "--summary", "--group=format:%ae", _BRANCH)
        addresses = {line.partition("\t")[2].casefold() for line in authors.strip("\n").split("\n")}
        return Found(commit, _time(committed), commits, len(addresses))

    def _run(self, until: float, *argv: str) -> str:
        """Run git in a process group of its own; return what it prints."""
        process = subprocess.Popen(
            ["git", *argv],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        out, err = "", ""
        try:
            while process.returncode is None:
                if self._cancelled.is_set():
                    raise Cancelled
                if time.monotonic() > until:
                    raise GitError(f"not done within {self.deadline_seconds:g} s")
                try:
                    out, err = process.communicate(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode != 0:
            raise GitError(_last_line(err) or f"git ended with status {process.returncode}")
        return out


def _last_line(text: str) -> str:
    """Given git's stderr, return the line that says what is wrong, without credentials."""
    lines = [line for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
    return _CREDENTIALS.sub("…@", (fatal or lines or [""])[-1])[:500]


def _time(seconds: str) -> datetime | None:
    """Given a commit's time, which whoever made it can set to anything, return it; None if it is no date."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, OSError, ValueError):
        return None
