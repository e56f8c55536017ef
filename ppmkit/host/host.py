"""Access to one host over one SSH connection: run, read, write, and its Docker engine.

OpenSSH is started once per host, as the master of a control socket, so ``~/.ssh/config``, agents, jump hosts
and hardware keys work as the user configured them. The same connection forwards three sockets: the host's
Docker engine, Traefik's loopback entry point, and the public port. Commands run in one persistent shell
(`ppmkit/host/shell.py`); another shell is started only while that one is busy. The master runs ``cat`` and
lives as long as our end of its pipe. If this process dies, even by ``kill -9``, the connection ends, and so
does the process on the host that holds the lock (`ppmkit/host/lock.py`).
"""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.errors import CommandFailed, HostUnreachable
from ppmkit.host import proxy_settings, ssh
from ppmkit.host.forwards import Forwards
from ppmkit.host.shell import START, Result, Shell, ShellGoneError
from ppmkit.local.bounded import TOO_MUCH, Tail, TooMuchError, exchange, has_line
from ppmkit.local.pool import awaited
from ppmkit.local.scratch import scratch

if TYPE_CHECKING:
    import httpx
    from python_on_whales import DockerClient

    from ppmkit.config.environment import Environment, HostAddress


class Host:
    """A connected host. Create one with :meth:`connect`. Every path is a path on the host."""

    TIMED_OUT = 124
    """The exit status of timeout(1)."""
    DOCKER_SECONDS = 120.0
    """Time limit of a Docker call when :meth:`within` sets no deadline."""
    LOGIN_SECONDS = 10.0
    """Time limit from the connection to the first output of our own command: login and shell startup."""
    FIRST_WORDS = 1 << 16
    """Maximum bytes of output before that."""

    def __init__(self, environment: Environment, address: HostAddress, sockets: Path) -> None:
        self.environment = environment
        self.name = address.name
        self._sockets = sockets
        self._options = ssh.options(environment, address)
        self._forwards = Forwards(self.name, sockets)
        self._proxy_settings: Environment | None = None
        self._idle: list[Shell] = []
        self._deadline: float | None = None
        self._cancelled: threading.Event | None = None
        self._destination = f"{environment.ssh.user}@{address.address}"

    @classmethod
    @contextmanager
    def connect(
        cls, environment: Environment, address: HostAddress, cancelled: threading.Event | None = None
    ) -> Iterator[Host]:
        """Yield the host, connected. Raises HostUnreachable or HostKeyChanged.

        Raises KeyboardInterrupt if ``cancelled`` is set before the connection is up.
        """
        with scratch() as sockets:
            host = cls(environment, address, sockets)
            master = host._start_master()
            with awaited(master):
                try:
                    host._await_ready(master, cancelled)
                    yield host
                finally:
                    host._leave(master)

    def _leave(self, master: subprocess.Popen[bytes]) -> None:
        """Close the connection within a second, whatever the host does."""
        self._forwards.close()
        for shell in self._idle:
            shell.close()
        if master.stdin:
            with suppress(BrokenPipeError):
                master.stdin.close()
        try:
            master.wait(1)
        except subprocess.TimeoutExpired:
            master.kill()
            master.wait()
        for pipe in (master.stdout, master.stderr):
            if pipe:
                pipe.close()

    def _start_master(self) -> subprocess.Popen[bytes]:
        forwards = (
            f"{self._sockets / 'docker'}:/var/run/docker.sock",
            self._forwards.add("internal", self.environment.proxy.internal_port),
            self._forwards.add("public", proxy_settings.public_port(self.environment)),
        )
        argv = ["ssh", *self._options, "-M", "-S", str(self._sockets / "control")]
        for forward in forwards:
            argv += ["-L", forward]
        # A separate session: Ctrl-C must reach only ppmctl, which still needs the host to undo its work.
        return subprocess.Popen(
            [*argv, "--", self._destination, "echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _await_ready(self, master: subprocess.Popen[bytes], cancelled: threading.Event | None) -> None:
        """Wait until the host runs our command. Raises HostUnreachable or HostKeyChanged, with ssh's output."""
        assert master.stdout is not None
        assert master.stderr is not None
        errors = Tail(master.stderr)
        seconds = self.environment.ssh.connect_timeout.total_seconds() + self.LOGIN_SECONDS
        try:
            [output] = exchange([master.stdout], has_line, seconds, limit=self.FIRST_WORDS, cancelled=cancelled)
        except TimeoutError:
            raise ssh.silent(self.name, self._destination, seconds) from None
        except TooMuchError:
            output = bytearray(b"too much output before the command started")
        if output != b"ready\n":
            master.kill()
            seen = errors.text() or output.decode(errors="replace").strip()
            raise ssh.why_no_connection(self.environment, self.name, self._destination, seen)

    def _argv(self, command: str) -> list[str]:
        # If the master has exited, ssh would silently open another connection, without the lock: ProxyCommand stops it
        control = ["-S", str(self._sockets / "control"), "-o", "ProxyCommand=false"]
        return ["ssh", *self._options, *control, "--", self._destination, command]

    def run(
        self, argv: Sequence[str], *, input: bytes | None = None, timeout: float = 60, check: bool = True
    ) -> Result:
        """Run a command on the host; return its output.

        Raises CommandFailed for a non-zero status (unless ``check`` is off), after ``timeout`` seconds, or if the
        output exceeds `LIMIT` in bounded.py. Raises HostUnreachable if the connection is lost.
        """
        command = shlex.join(argv)
        timeout = min(timeout, self._left() or timeout)
        try:
            with self._shell() as shell:
                result = shell.run(argv, input or b"", timeout, self._cancelled)
        except TimeoutError as slow:
            raise CommandFailed(f"{self.name}: `{command}` did not end within {timeout:g} s", host=self.name) from slow
        except TooMuchError as much:
            raise CommandFailed(f"{self.name}: `{command}` was ended: {TOO_MUCH}", host=self.name) from much
        except ShellGoneError as gone:
            raise self.lost(str(gone)) from gone
        if check and result.status != 0:
            raise CommandFailed(
                f"{self.name}: `{command}` ended with status {result.status}",
                host=self.name,
                seen=(result.stderr or result.stdout).strip()[-2000:] or None,
            )
        return result

    def lost(self, seen: str = "") -> HostUnreachable:
        """Return the error for a lost connection, with ssh's output."""
        return HostUnreachable(
            f"{self.name}: the SSH connection was lost",
            host=self.name,
            seen=seen or None,
            next="ppmctl status; then run the same command again: it continues where this one stopped",
        )

    @contextmanager
    def _shell(self) -> Iterator[Shell]:
        """Yield an idle shell, or a new one."""
        shell = self._idle.pop() if self._idle else Shell(self._argv(START))
        try:
            yield shell
        except BaseException:
            shell.close()
            raise
        self._idle.append(shell)

    def read(self, path: PurePosixPath) -> str | None:
        """Return the text of a file, or None if it does not exist."""
        script = 'test -e "$1" || exit 44; cat "$1"'
        result = self.run(["sh", "-c", script, "sh", str(path)], check=False)
        if result.status == 44:
            return None
        if result.status != 0:
            raise CommandFailed(f"{self.name}: cannot read {path}", host=self.name, seen=result.stderr.strip())
        return result.stdout

    def write(self, path: PurePosixPath, content: str, *, mode: int = 0o644) -> None:
        """Replace a file atomically: temporary file, fsync, rename, fsync of the directory."""
        script = (
            'set -e; umask 077; dir=$(dirname "$1"); mkdir -p -m 755 "$dir"; tmp=$(mktemp "$dir/.new.XXXXXX"); '
            'trap \'rm -f "$tmp"\' EXIT; cat > "$tmp"; chmod "$2" "$tmp"; sync "$tmp"; mv -f "$tmp" "$1"; sync "$dir"'
        )
        self.run(["sh", "-c", script, "sh", str(path), f"{mode:o}"], input=content.encode())

    def write_tree(self, path: PurePosixPath, files: Mapping[str, str]) -> None:
        """Create a directory with these files atomically. An existing directory stays unchanged."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in sorted(files.items()):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content.encode()), 0o644
                tar.addfile(member, io.BytesIO(content.encode()))
        script = (
            'set -e; test -d "$1" && exit 0; parent=$(dirname "$1"); tmp=$(mktemp -d "$parent/.new.XXXXXX"); '
            'trap \'rm -rf "$tmp"\' EXIT; tar -x -C "$tmp"; chmod 755 "$tmp"; find "$tmp" -exec sync {} +; '
            'mv -T "$tmp" "$1"; sync "$parent"'
        )
        self.run(["sh", "-c", script, "sh", str(path)], input=archive.getvalue())

    def link(self, path: PurePosixPath, target: str) -> None:
        """Point a symbolic link at ``target`` by rename, so the link always exists."""
        script = 'set -e; ln -sfn "$2" "$1.new"; mv -Tf "$1.new" "$1"; sync "$(dirname "$1")"'
        self.run(["sh", "-c", script, "sh", str(path), target])

    def append(self, path: PurePosixPath, line: str) -> None:
        """Append a line to a file and fsync it. A new file is readable only by its owner."""
        script = 'umask 077; cat >> "$1" && sync "$1"'
        self.run(["sh", "-c", script, "sh", str(path)], input=f"{line}\n".encode())

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a background command. It ends when its input or the connection is closed."""
        return subprocess.Popen(
            self._argv(shlex.join(argv)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def docker(self) -> DockerClient:
        """The host's Docker engine, over the forwarded socket. A call is limited to the time that the block of
        :meth:`within` has left, else to DOCKER_SECONDS."""
        from ppmkit.local.engine import client

        return client(deadline=self._left() or self.DOCKER_SECONDS, host=f"unix://{self._sockets / 'docker'}")

    def compose(self, file: Path) -> DockerClient:
        """A client for the environment's Compose project on the host, as the rendered ``file`` describes it."""
        from ppmkit.local.engine import client

        return client(
            deadline=self._left(),
            host=f"unix://{self._sockets / 'docker'}",
            compose_files=[file],
            compose_project_name=self.environment.project,
            compose_profiles=["blue", "green"],
        )

    @contextmanager
    def within(self, seconds: float, cancelled: threading.Event | None = None) -> Iterator[None]:
        """Set a deadline for all requests to the host in the block: no command and no Docker call outlives it.

        Setting ``cancelled`` ends :meth:`run` and :meth:`rest` at once. A nested block cannot extend the outer
        deadline.
        """
        outer = self._deadline, self._cancelled
        deadline = time.monotonic() + seconds
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
        self._cancelled = cancelled or self._cancelled
        try:
            yield
        finally:
            self._deadline, self._cancelled = outer

    def rest(self, seconds: float) -> None:
        """Sleep between polls. Raises KeyboardInterrupt if the operation was canceled.

        Only the main thread receives Ctrl-C, but hosts that are upgraded in parallel have a thread each.
        """
        if self._cancelled is None:
            time.sleep(seconds)
        elif self._cancelled.wait(seconds):
            raise KeyboardInterrupt

    def _left(self) -> float | None:
        """Return the seconds until the deadline, at least one; None without a deadline."""
        return None if self._deadline is None else max(1.0, self._deadline - time.monotonic())

    @cached_property
    def engine_version(self) -> tuple[int, ...]:
        """The engine's version, in the form that `version` in engine.py returns."""
        from ppmkit.local.engine import version

        return version(self.docker)

    def await_docker(self, seconds: float = 30) -> None:
        """Wait for the engine to answer: it may be restarting. Raises its last error. Raises HostUnreachable
        immediately if the connection is lost, since waiting would not help."""
        from python_on_whales import DockerException

        deadline = time.monotonic() + seconds
        while True:
            try:
                self.docker.version()
            except DockerException as error:
                if not (self._sockets / "control").exists():
                    raise self.lost() from error
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    @property
    def control_socket(self) -> Path:
        """The connection's control socket, to add more forwards."""
        return self._sockets / "control"

    @property
    def public_socket(self) -> Path:
        """The local end of the forwarded public port."""
        return self._forwards.socket(proxy_settings.public_port(self.proxy_settings))

    @property
    def docker_socket(self) -> Path:
        """The local end of the host's forwarded Docker socket."""
        return self._sockets / "docker"

    @property
    def proxy_settings(self) -> Environment:
        """The settings that the running proxy was created with; today's YAML may differ."""
        if self._proxy_settings is None:
            self._proxy_settings = proxy_settings.in_force(self.environment, self.read)
        return self._proxy_settings

    def forget_proxy_settings(self) -> None:
        """Discard the cached settings: the proxy or its settings changed."""
        self._proxy_settings = None

    @property
    def internal(self) -> httpx.Client:
        """HTTP to the proxy's loopback entry point."""
        return self._forwards.http(self.proxy_settings.proxy.internal_port, "http://preview")

    @property
    def public(self) -> httpx.Client:
        """HTTP to the public port, as a user's request arrives there. The certificate is not verified here (SSH
        authenticates the host); ``status`` checks it."""
        settings = self.proxy_settings
        scheme = "https" if settings.tls else "http"
        return self._forwards.http(proxy_settings.public_port(settings), f"{scheme}://{settings.domain}")
