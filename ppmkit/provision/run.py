"""Provisioning: runs pyinfra in a separate process, because gevent's monkey-patching must not affect this one.

The process (``deploy/tasks/__main__.py``) reads the environment as JSON, writes a :class:`ProvisionReport` as JSON to
its standard output, and writes a line to standard error for each change that it starts.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Collection
from threading import Thread
from typing import IO

from pydantic import ValidationError

from ppmkit.config.environment import Environment
from ppmkit.errors import ProvisionError, UsageError
from ppmkit.local.bounded import TooMuchError, exchange, never
from ppmkit.local.pool import awaited
from ppmkit.paths import KIT
from ppmkit.provision import root_login
from ppmkit.provision.report import HostReport, Operation, ProvisionReport

_LAST_LINES = 20
_LINE = 1 << 16
"""Maximum bytes of a line that are read at once."""
_NEXT = "ppmctl provision --check; it reports the problem"


def provision(environment: Environment, *, check: bool, announce: Callable[[str], None]) -> ProvisionReport:
    """Prepare every host for deployments (with ``check``: dry run); return what changed and what failed.

    The report names hosts that are unreachable or fail; the others are still provisioned. Raises UsageError for an
    environment without hosts, ProvisionError if pyinfra itself does not run.
    """
    if not environment.hosts:
        raise UsageError(f"the environment {environment.name} has no host to provision")
    closed = root_login.closed(environment)
    by_user = closed if environment.ssh.provision_user == "root" else []
    report = _tasks(environment, [*(["--check"] if check else []), *by_user], announce)
    if not root_login.wanted(environment):
        return report
    return report.model_copy(update={"hosts": tuple(_close(environment, host, closed, check) for host in report.hosts)})


def _close(environment: Environment, report: HostReport, closed: Collection[str], check: bool) -> HostReport:
    """Disable root's login on a host that was provisioned successfully; return its report with this operation."""
    if report.error or not report.reached:
        return report
    changed = report.name not in closed
    operation = Operation(name="Hardening | Root login", changed=changed, detail="turn root's login off")
    if changed and not check:
        try:
            root_login.close(environment, next(a for a in environment.hosts if a.name == report.name))
        except ProvisionError as error:
            failed = operation.model_copy(update={"changed": False, "ok": False, "detail": error.seen or ""})
            return report.model_copy(update={"error": error.message, "operations": (*report.operations, failed)})
    return report.model_copy(update={"operations": (*report.operations, operation)})


def _tasks(environment: Environment, arguments: list[str], announce: Callable[[str], None]) -> ProvisionReport:
    """Run the pyinfra process; return its report."""
    # A separate session: without a terminal, nothing in it can block on a password prompt.
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.tasks", *arguments],
        cwd=KIT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process, awaited(process):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        tail: deque[str] = deque(maxlen=_LAST_LINES)
        listener = Thread(target=_listen, args=(process.stderr, announce, tail), daemon=True)
        try:
            listener.start()
            _send(process.stdin, environment.model_dump_json().encode())
            [output] = exchange([process.stdout], never, None)
            listener.join()
        except TooMuchError as much:
            process.kill()
            raise ProvisionError(f"pyinfra was stopped: {much}", step="provision", next=_NEXT) from much
        except BaseException:
            process.kill()
            raise
    return _report(output.decode(), process.returncode, tail)


def _send(stdin: IO[bytes], document: bytes) -> None:
    try:
        with stdin:
            stdin.write(document)
    except BrokenPipeError:
        return  # it exited before it read its input; its standard error says why


def _listen(stderr: IO[bytes], announce: Callable[[str], None], tail: deque[str]) -> None:
    while line := stderr.readline(_LINE):
        tail.append(line.decode(errors="replace").rstrip("\n"))
        announce(tail[-1])


def _report(output: str, status: int, tail: deque[str]) -> ProvisionReport:
    try:
        if status == 0:
            return ProvisionReport.model_validate_json(output)
        why = f"it ended with status {status}"
    except ValidationError as error:
        why = str(error)
    raise ProvisionError(
        f"pyinfra did not run: {why}",
        step="provision",
        seen="\n".join(tail) or None,
        next=_NEXT,
    )
