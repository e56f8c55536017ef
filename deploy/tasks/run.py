"""Run the tasks on all hosts in parallel and report as JSON; otherwise like pyinfra's command line.

Hosts do not wait for each other: a slow or failing host does not delay the others. As pyinfra requires, there are two
phases: first each host is connected and its operations are collected, then each host runs its operations. With
``check``, the second phase only asks each operation for its commands. Needs gevent's monkey-patching (``__main__.py``).
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
from deploy.tasks.command import describe
from deploy.tasks.provision import provision
from ppmkit.config.environment import Environment
from ppmkit.provision.report import HostReport, Operation, ProvisionReport

_NOTE = "note: "
_LAST_LINES = 15
_HOST_ERRORS = (PyinfraError, SSHException, OSError, EOFError)
"""Errors that stop one host and are not bugs of this program."""
Generator = Callable[[], Iterator[PyinfraCommand]]


def run(environment: Environment, *, check: bool, without_root: Collection[str] = ()) -> ProvisionReport:
    """Provision, or only check; return for each host what changed (or would) and what failed."""
    inventory = Inventory((connection.hosts(environment, without_root), {}))  # type: ignore[no-untyped-call]
    state = State(inventory, Config())  # type: ignore[no-untyped-call]
    # Operations generate their commands only once, when it is their turn, so that their facts are up to date.
    state.check_for_changes = False
    visits = [_Visit(state, host, check) for host in inventory]
    _log_to(visits)
    ctx_inventory.set(inventory)  # type: ignore[no-untyped-call]
    with ctx_state.use(state):
        state.set_stage(StateStage.Prepare)
        _in_parallel([visit.prepare for visit in visits])
        if not check:
            state.set_stage(StateStage.Execute)
            state.is_executing = True
        _in_parallel([visit.perform for visit in visits])
        _in_parallel([visit.leave for visit in visits])
    return ProvisionReport(check=check, hosts=tuple(visit.report() for visit in visits))


def _in_parallel(calls: list[Callable[[], None]]) -> None:
    gevent.joinall([gevent.spawn(call) for call in calls], raise_error=True)


class _Failed(Exception):
    """Ends the work on a host; the message is for the operator."""


@dataclass
class _Visit:
    """One host, from connection to report."""

    state: State
    host: Host
    check: bool
    error: str | None = None
    errors: list[str] = field(default_factory=list)
    """The errors that pyinfra logged for this host, newest last."""
    notes: list[str] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    seconds: float = 0.0

    def prepare(self) -> None:
        """Connect, and collect the tasks' operations."""
        with self._guarded():
            self._connect()
            with ctx_host.use(self.host), ctx_config.use(self.state.config.copy()):
                provision()

    def perform(self) -> None:
        """Run the operations until one fails; or, with ``check``, check all of them."""
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
        """Return the host's report."""
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
        # sudo's own message is suppressed: pyinfra would react to it by asking for a password.
        if user != "root" and not self.host.run_shell_command(StringCommand("sudo -n true 2>/dev/null"))[0]:
            raise _Failed(f"{user} may not use sudo without a password; provisioning needs root")

    def _operate(self, order: str) -> None:
        name = " | ".join(sorted(self.state.get_op_meta(order).names))
        data = self.state.get_op_data_for_host(self.host, order)
        actions: list[str] = []
        commands = data.command_generator
        data.command_generator = lambda: self._recorded(name, commands, actions)
        problem = ""
        try:
            if self.check:
                deque(data.command_generator(), maxlen=0)
            elif not run_host_op(self.state, self.host, order):
                problem = _last(data.operation_meta.stderr_lines or data.operation_meta.stdout_lines or self.errors)
        except _HOST_ERRORS as error:
            problem = _last(self.errors) or str(error)
        detail = "\n".join([*actions, problem] if problem else actions)
        changed = bool(actions) and not problem
        self.operations.append(Operation(name=name, changed=changed, ok=not problem, detail=detail))
        if problem:
            raise _Failed(f"{name}: {problem}")

    def _recorded(self, name: str, commands: Generator, actions: list[str]) -> Iterator[PyinfraCommand]:
        """Yield the commands of an operation and record each; announce the operation before its first command."""
        for command in commands():
            if self.host in self.state.failed_hosts:
                raise PyinfraError("the state of the host could not be read")
            if not actions and not self.check:
                sys.stderr.write(f"{self.host.name}: {name}\n")
                sys.stderr.flush()
            actions.append(describe(command))
            yield command

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Record an exception as this host's error; the other hosts continue."""
        began = time.monotonic()
        try:
            yield
            if self.host in self.state.failed_hosts:
                raise PyinfraError("the state of the host could not be read")
        except _Failed as failed:
            self.error = str(failed)
        except _HOST_ERRORS as error:
            self.error = _last(self.errors) or str(error)
        finally:
            self.seconds += time.monotonic() - began


def _last(lines: list[str]) -> str:
    return "\n".join(lines[-_LAST_LINES:]).strip()


def _no_connection(error: str) -> str:
    """Given pyinfra's error for a failed connection, return the message for the operator."""
    if "host key" in error.lower():
        return f"the host's key is not the one in known_hosts; nothing was sent to it ({error})"
    return f"no SSH connection: {error.removeprefix('Could not connect ').strip('()').removeprefix('[Errno None] ')}"


class _Listener(logging.Handler):
    """Assigns pyinfra's log records to hosts: errors, and notes of the tasks."""

    def __init__(self, visits: list[_Visit]) -> None:
        super().__init__(logging.INFO)
        self.visits = visits

    def emit(self, record: logging.LogRecord) -> None:
        """Assign one record by the host name at its beginning."""
        message = record.getMessage()
        for visit in self.visits:
            prefix = f"[{visit.host.name}]"
            if message.startswith(prefix):
                text = message.removeprefix(prefix).strip()
                if record.levelno >= logging.ERROR:
                    visit.errors.append(text)
                elif text.startswith(_NOTE):
                    visit.notes.append(text.removeprefix(_NOTE))


def _log_to(visits: list[_Visit]) -> None:
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_Listener(visits))
