"""Repositories behind real servers: `git daemon`, and `git http-backend` behind HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.processes import join
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
        """Answer no client: each one that connects waits."""
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

    def commit(self, name: str, *authors: str, date: str = "1700000000 +0000", tree: str = _EMPTY_TREE) -> None:
        for author in authors:
            tip = self.tip(name)
            parent = ("-p", tip) if tip else ()
            who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": author, "GIT_AUTHOR_DATE": date}
            who |= {"GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org", "GIT_COMMITTER_DATE": date}
            made = self._git("-C", name, "commit-tree", tree, "-m", "change", *parent, **who)
            self._git("-C", name, "update-ref", "refs/heads/trunk", made)

    def write(self, name: str, files: dict[str, bytes], modes: dict[str, str] | None = None) -> str:
        """Add a commit that has these files alone, under any names; return the repository's address.

        ``modes`` says which are something else: 120000 is a link, 160000 a module.
        """
        if not (self.folder / name).exists():
            self.create(name)
        lines = []
        for path, content in files.items():
            mode = (modes or {}).get(path, "100644")
            commit = (
                content.decode()
                if mode == "160000"
                else self._git("-C", name, "hash-object", "-w", "--stdin", stdin=content)
            )
            lines.append(f"{mode} {commit}\t{path}\0")
        index = {"GIT_INDEX_FILE": str(self.folder / f"{name}.index")}
        self._git("-C", name, "read-tree", "--empty", **index)
        self._git("-C", name, "update-index", "-z", "--index-info", stdin="".join(lines).encode(), **index)
        self.commit(name, "a@example.org", tree=self._git("-C", name, "write-tree", "--missing-ok", **index))
        return self.url(name)

    def tip(self, name: str) -> str:
        """Return the last commit of the default branch, or nothing."""
        return self._git("-C", name, "for-each-ref", "--format=%(objectname)", "refs/heads/trunk")

    def git(self, name: str, *argv: str, stdin: bytes = b"") -> str:
        """Run git in a repository; return what it prints."""
        return self._git("-C", name, *argv, stdin=stdin)

    def _git(self, *argv: str, stdin: bytes = b"", **environment: str) -> str:
        inherited = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
        done = subprocess.run(
            ["git", *argv], cwd=self.folder, env=inherited | environment, input=stdin, capture_output=True, check=True
        )
        return done.stdout.decode().strip()


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
        daemon.wait(20)


@dataclass(frozen=True)
class HttpServer(GitServer):
    """Serves the same by HTTP; what was asked is in ``asked``."""

    asked: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"http://{self.address}:{self.port}/{name}"


@contextmanager
def http_server(folder: Path) -> Iterator[HttpServer]:
    """Run `git http-backend` for each request to a free port; a path below /moved/ is sent elsewhere."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path.startswith("/moved/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/moved"))
                self.end_headers()
                return
            self._answer(_backend(folder, self))

        do_POST = do_GET

        def _answer(self, out: bytes) -> None:
            head, _, body = out.partition(b"\r\n\r\n")
            fields = [line.partition(": ")[::2] for line in head.decode().split("\r\n")]
            self.send_response(int(dict(fields).get("Status", "200 OK").split()[0]))
            for name, value in fields:
                if name != "Status":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield HttpServer(folder, "127.0.0.1", server.server_port, 0, asked)
        server.shutdown()
        join(thread)


def _backend(folder: Path, request: BaseHTTPRequestHandler) -> bytes:
    """Return what git's CGI program answers: see git-http-backend(1)."""
    path, _, query = request.path.partition("?")
    variables = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
    return subprocess.run(["git", "http-backend"], env=variables, input=body, capture_output=True, check=True).stdout


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True
