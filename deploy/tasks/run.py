"""Run the tasks on every host at once, and report: what pyinfra's command line does, with JSON for people's words.

Hosts do not wait for each other: one that is slow, or fails, holds up none. Two rounds, as pyinfra wants it: every
host is connected and asked for its operations, then every host carries its own out. With ``check`` the second round
only asks each operation for its commands. Needs gevent's monkey-patching (``__main__.py``).
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gevent  # type: ignore[import-untyped]
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.config import Config
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operations import run_host_op
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from deploy.tasks import connection
from deploy.tasks.command import words
from deploy.tasks.provision import provision
from ppmkit.config.environment import Environment
from ppmkit.provision.report import HostReport, Operation, ProvisionReport

_NOTE = "note: "
_LAST_LINES = 15
_UNDONE = (PyinfraError, SSHException, OSError, EOFError)
"""What stops one host and is no mistake of this program."""
Generator = Callable[[], Iterator[PyinfraCommand]]


def run(environment: Environment, *, check: bool, without_root: Collection[str] = ()) -> ProvisionReport:
    """Provision, or only look; return what changed or would, and what failed, for each host."""
    inventory = Inventory((connection.hosts(environment, without_root), {}))  # type: ignore[no-untyped-call]
    state = State(inventory, Config())  # type: ignore[no-untyped-call]
    # Operations are asked for their commands once, when it is their turn: what they look at is then up to date.
    state.check_for_changes = False
    visits = [_Visit(state, host, check) for host in inventory]
    _log_to(visits)
    ctx_inventory.set(inventory)  # type: ignore[no-untyped-call]
    with ctx_state.use(state):
        state.set_stage(StateStage.Prepare)
        _together([visit.prepare for visit in visits])
        if not check:
            state.set_stage(StateStage.Execute)
            state.is_executing = True
        _together([visit.perform for visit in visits])
        _together([visit.leave for visit in visits])
    return ProvisionReport(check=check, hosts=tuple(visit.report() for visit in visits))


def _together(calls: list[Callable[[], None]]) -> None:
    gevent.joinall([gevent.spawn(call) for call in calls], raise_error=True)


class _Failed(Exception):
    """The visit of a host ends here; the message is for people."""


@dataclass
class _Visit:
    """One host, from connection to report."""

    state: State
    host: Host
    check: bool
    error: str | None = None
    said: list[str] = field(default_factory=list)
    """What pyinfra logged as an error of this host, newest last."""
    notes: list[str] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    seconds: float = 0.0

    def prepare(self) -> None:
        """Connect, and ask the tasks for their operations."""
        with self._guarded():
            self._connect()
            with ctx_host.use(self.host), ctx_config.use(self.state.config.copy()):
                provision()

    def perform(self) -> None:
        """Carry out every operation until one fails; or, with ``check``, look at every one."""
        if self.error:
            return
        with self._guarded(), ctx_host.use(self.host), ctx_config.use(self.state.config.copy()):
            for order in self.host.op_hash_order:
                self._operate(order)

    def leave(self) -> None:
        """Disconnect."""
        if self.host.connected:
            self.host.disconnect()

    def report(self) -> HostReport:
        """Return how it went."""
        return HostReport(
            name=self.host.name,
            reached=self.host in self.state.activated_hosts,
            error=self.error,
            operations=tuple(self.operations),
            notes=tuple(dict.fromkeys(self.notes)),
            seconds=round(self.seconds, 2),
        )

    def _connect(self) -> None:
        try:
            self.host.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            raise _Failed(_no_connection(str(error))) from error
        self.state.activate_host(self.host)
        user = self.host.data.ssh_user
        # Asked without sudo's own words: at those, pyinfra would ask for a password.
        if user != "root" and not self.host.run_shell_command(StringCommand("sudo -n true 2>/dev/null"))[0]:
            raise _Failed(f"{user} may not use sudo without a password; provisioning needs root")

    def _operate(self, order: str) -> None:
        name = " | ".join(sorted(self.state.get_op_meta(order).names))
        data = self.state.get_op_data_for_host(self.host, order)
        done: list[str] = []
        commands = data.command_generator
        data.command_generator = lambda: self._recorded(name, commands, done)
        problem = ""
        try:
            if self.check:
                deque(data.command_generator(), maxlen=0)
            elif not run_host_op(self.state, self.host, order):
                problem = _last(data.operation_meta.stderr_lines or data.operation_meta.stdout_lines or self.said)
        except _UNDONE as error:
            problem = _last(self.said) or str(error)
        detail = "\n".join([*done, problem] if problem else done)
        self.operations.append(Operation(name=name, changed=bool(done) and not problem, ok=not problem, detail=detail))
        if problem:
            raise _Failed(f"{name}: {problem}")

    def _recorded(self, name: str, commands: Generator, done: list[str]) -> Iterator[PyinfraCommand]:
        """Yield the commands of an operation, noting each; announce the first, which is about to be run."""
        for command in commands():
            if self.host in self.state.failed_hosts:
                raise PyinfraError("what is on the host could not be read")
            if not done and not self.check:
                sys.stderr.write(f"{self.host.name}: {name}\n")
                sys.stderr.flush()
            done.append(words(command))
            yield command

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Make what stops this host its error; the other hosts go on."""
        began = time.monotonic()
        try:
            yield
            if self.host in self.state.failed_hosts:
                raise PyinfraError("what is on the host could not be read")
        except _Failed as failed:
            self.error = str(failed)
        except _UNDONE as error:
            self.error = _last(self.said) or str(error)
        finally:
            self.seconds += time.monotonic() - began


def _last(lines: list[str]) -> str:
    return "\n".join(lines[-_LAST_LINES:]).strip()


def _no_connection(said: str) -> str:
    """Given pyinfra's words for a connection that failed, return them for a person."""
    if "host key" in said.lower():
        return f"the host's key is not the one in known_hosts; nothing was sent to it ({said})"
    return f"no SSH connection: {said.removeprefix('Could not connect ').strip('()').removeprefix('[Errno None] ')}"


class _Listener(logging.Handler):
    """Gives each host what pyinfra logs about it: errors, and notes of the tasks."""

    def __init__(self, visits: list[_Visit]) -> None:
        super().__init__(logging.INFO)
        self.visits = visits

    def emit(self, record: logging.LogRecord) -> None:
        """Sort one record by the host's name that it begins with."""
        message = record.getMessage()
        for visit in self.visits:
            prefix = f"[{visit.host.name}]"
            if message.startswith(prefix):
                text = message.removeprefix(prefix).strip()
                if record.levelno >= logging.ERROR:
                    visit.said.append(text)
                elif text.startswith(_NOTE):
                    visit.notes.append(text.removeprefix(_NOTE))


def _log_to(visits: list[_Visit]) -> None:
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_Listener(visits))
