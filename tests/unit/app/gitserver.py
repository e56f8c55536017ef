"""Repositories behind a real `git daemon`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.unit.app.conftest import until

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@dataclass(frozen=True)
class GitServer:
    """Serves the bare repositories of a folder; their default branch is `trunk`."""

    folder: Path
    address: str
    port: int
    group: int

    def url(self, name: str) -> str:
        return f"git://{self.address}:{self.port}/{name}"

    def pause(self) -> None:
        """Answer nobody: whoever connects waits."""
        os.killpg(self.group, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.group, signal.SIGCONT)

    def create(self, name: str, *authors: str, date: str = "1700000000 +0000") -> str:
        """Make a repository with a commit of each author; return its address."""
        self._git("init", "-q", "--bare", "-b", "trunk", name)
        self._git("-C", name, "config", "uploadpack.allowFilter", "true")  # as forges do
        self._git("-C", name, "hash-object", "-w", "-t", "tree", os.devnull)
        self.commit(name, *authors, date=date)
        return self.url(name)

    def commit(self, name: str, *authors: str, date: str = "1700000000 +0000") -> None:
        for author in authors:
            tip = self.tip(name)
            parent = ("-p", tip) if tip else ()
            who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": author, "GIT_AUTHOR_DATE": date}
            who |= {"GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org", "GIT_COMMITTER_DATE": date}
            made = self._git("-C", name, "commit-tree", _EMPTY_TREE, "-m", "change", *parent, **who)
            self._git("-C", name, "update-ref", "refs/heads/trunk", made)

    def tip(self, name: str) -> str:
        """Return the last commit of the default branch, or nothing."""
        return self._git("-C", name, "for-each-ref", "--format=%(objectname)", "refs/heads/trunk")

    def _git(self, *argv: str, **environment: str) -> str:
        inherited = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
        done = subprocess.run(
            ["git", *argv], cwd=self.folder, env=inherited | environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


@contextmanager
def git_server(folder: Path, address: str = "127.0.0.1") -> Iterator[GitServer]:
    """Run `git daemon` on a free port."""
    with socket.socket() as chosen:
        chosen.bind((address, 0))
        port = chosen.getsockname()[1]
    argv = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={folder}", f"--listen={address}"]
    daemon = subprocess.Popen([*argv, f"--port={port}", str(folder)], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: _listens(address, port))
        yield GitServer(folder, address, port, daemon.pid)
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True
