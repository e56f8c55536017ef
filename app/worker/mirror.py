"""The mirror of one repository: the history of its default branch without files, and those files of the last commit
that are worth reading.

Nothing is ever checked out, so a repository's names, links, submodules and hooks have no effect here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.worker.address import Address
from app.worker.content import LARGEST_SOURCE, Content, File, Reading
from app.worker.process import LimitError, Limits, run

MOST_FILES = 50_000
YEAR = timedelta(weeks=53)
_TOGETHER = 8 << 20
"""Maximum bytes of file content in memory at a time."""
_BRANCH = "refs/heads/scan"
_INHERITED = ("PATH", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_ASKPASS": "true",  # never prompts: a repository that requires a password fails
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
}
_OPTIONS = {
    "core.hooksPath": os.devnull,
    "credential.helper": "",
    "http.followRedirects": "false",  # a redirect could lead to an address that app/worker/address.py has not checked
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
    # A large repository must fit into little memory.
    "core.bigFileThreshold": "1m",
    "core.deltaBaseCacheLimit": "16m",
    "core.packedGitLimit": "64m",
    "core.packedGitWindowSize": "1m",
    "pack.threads": "1",
    "pack.windowMemory": "32m",
}


@dataclass(frozen=True)
class Found:
    """The default branch. An empty repository has no last commit."""

    last_commit: str | None = None
    last_commit_at: datetime | None = None
    commits: int = 0
    contributors: int = 0
    """Distinct e-mail addresses of authors, ignoring case."""
    activity: dict[str, int] = field(default_factory=dict)
    """Commits per week of the last year, keyed by Monday; weeks without commits are left out."""
    content: Content = field(default_factory=Content)


@dataclass(frozen=True)
class Mirror:
    """The mirror of one repository, during one scan. Every method may raise the errors of ``app/worker/process.py``."""

    address: Address
    limits: Limits

    @property
    def folder(self) -> Path:
        """The folder that holds the mirror."""
        return self.limits.folder

    def tip(self) -> str | None:
        """Ask the server for the last commit of the default branch; return None when it has none."""
        return self._git("ls-remote", "--", self.address.url, "HEAD").decode().partition("\t")[0] or None

    def fetch(self) -> None:
        """Update the history."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet", "--bare", "--template=", str(self.folder))
        self._inside("config", "remote.origin.url", self.address.url)
        self._fetch("--force", "origin", f"+HEAD:{_BRANCH}")

    def look(self) -> Found:
        """Return what was fetched. Git does the counting, because a long history must be read with little memory."""
        commit, _, committed = self._inside("log", "-1", "--format=%H %ct", _BRANCH).strip().partition(" ")
        authors = self._inside("shortlog", "--summary", "--group=format:%ae", _BRANCH).strip("\n").split("\n")
        since = datetime.now(UTC) - YEAR
        times = self._inside("log", f"--since={since:%Y-%m-%d}", "--format=%ct", _BRANCH).split()
        return Found(
            last_commit=commit,
            last_commit_at=_time(committed),
            commits=int(self._inside("rev-list", "--count", _BRANCH)),
            contributors=len({line.partition("\t")[2].casefold() for line in authors}),
            activity=dict(Counter(_monday(time) for seconds in times if (time := _time(seconds)))),
            content=self._content(),
        )

    def _content(self) -> Content:
        reading = Reading(self._files())
        objects = self._inside("rev-list", "--objects", "--no-object-names", "--missing=print", f"{_BRANCH}^{{tree}}")
        missing = [line[1:] for line in objects.splitlines() if line.startswith("?") and line[1:] in reading.uses]
        if missing:
            # As git itself fetches missing file contents, but all of them at once.
            options = ("-c", "fetch.negotiationAlgorithm=noop")
            self._fetch("--no-write-fetch-head", "origin", "--stdin", options=options, stdin="\n".join(missing))
        for blobs in _together(self._sizes(reading)):
            for blob, content in self._contents(blobs):
                reading.read(blob, content)
        return reading.result()

    def _files(self) -> Iterator[File]:
        """Yield the regular files of the last commit: no links, no submodules."""
        entries = self._inside("ls-tree", "-r", "-z", _BRANCH).split("\0")[:-1]
        if len(entries) > MOST_FILES:
            raise LimitError(f"more than {MOST_FILES:,} files")
        for entry in entries:
            about, _, path = entry.partition("\t")
            mode, _, blob = about.split(" ")
            if mode.startswith("100"):
                yield File(path, blob)

    def _sizes(self, reading: Reading) -> Iterator[tuple[str, int]]:
        """Take the sizes of all blobs into account; yield those that are small enough to read, with their sizes."""
        for line in self._inside("cat-file", "--batch-check", stdin="\n".join(reading.uses)).splitlines():
            blob, kind, *size = line.split(" ")
            if kind == "blob":  # else it is missing: the server did not send it
                reading.measure(blob, int(size[0]))
                if int(size[0]) <= LARGEST_SOURCE:
                    yield blob, int(size[0])

    def _contents(self, blobs: list[str]) -> Iterator[tuple[str, bytes]]:
        out = self._git(*self._at, "cat-file", "--batch", stdin="\n".join(blobs))
        at = 0
        while at < len(out):  # each is a line "blob type size", the content, and a newline
            end = out.index(b"\n", at)
            blob, _, size = out[at:end].decode().split(" ")
            yield blob, out[end + 1 : end + 1 + int(size)]
            at = end + int(size) + 2

    def _fetch(self, *argv: str, options: tuple[str, ...] = (), stdin: str = "") -> None:
        own = ("--quiet", "--no-tags", "--no-recurse-submodules", "--filter=blob:none")
        self._inside(*options, "fetch", *own, *argv, stdin=stdin)

    @property
    def _at(self) -> tuple[str, ...]:
        return (f"--git-dir={self.folder}",)

    def _inside(self, *argv: str, stdin: str = "") -> str:
        """Run git in the mirror; return its output."""
        return self._git(*self._at, *argv, stdin=stdin).decode(errors="replace")

    def _git(self, *argv: str, stdin: str = "") -> bytes:
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        environment = _ENVIRONMENT | {"GIT_ALLOW_PROTOCOL": self.address.protocol}
        environment |= {key: os.environ[key] for key in _INHERITED if key in os.environ}
        return run(["git", *options, *self.address.options, *argv], environment, self.limits, stdin.encode())


def _together(sizes: Iterator[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield groups of blobs that may be in memory together."""
    blobs: list[str] = []
    total = 0
    for blob, size in sizes:
        if blobs and total + size > _TOGETHER:
            yield blobs
            blobs, total = [], 0
        blobs.append(blob)
        total += size
    if blobs:
        yield blobs


def _time(seconds: str) -> datetime | None:
    """Return a commit's time, which its author can set to anything; None if it is not a valid date."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _monday(time: datetime) -> str:
    return (time.date() - timedelta(days=time.weekday())).isoformat()
