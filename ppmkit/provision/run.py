"""Provisioning: pyinfra in a process of its own, because gevent's monkey-patching must not reach this one.

The process (``deploy/tasks/__main__.py``) gets the environment as JSON, writes a :class:`ProvisionReport` as JSON to
its standard output, and a line for whatever it begins to change to its standard error.
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
"""Bytes of a line that are taken at once."""
_AGAIN = "ppmctl provision --check; then read what it says"


def provision(environment: Environment, *, check: bool, announce: Callable[[str], None]) -> ProvisionReport:
    """Bring every host to what deployments need (with ``check`` only look); return what changed, and what failed.

    A host that cannot be reached or fails is named in the report, and the others are done. Raises UsageError for an
    environment without hosts, ProvisionError when pyinfra itself does not run.
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
    """Turn root's login off on a host that is as it should be; return its report with that."""
    if report.error or not report.reached:
        return report
    done = Operation(name="Hardening | Root login", changed=report.name not in closed, detail="turn root's login off")
    if done.changed and not check:
        try:
            root_login.close(environment, next(a for a in environment.hosts if a.name == report.name))
        except ProvisionError as error:
            failed = done.model_copy(update={"changed": False, "ok": False, "detail": error.seen or ""})
            return report.model_copy(update={"error": error.message, "operations": (*report.operations, failed)})
    return report.model_copy(update={"operations": (*report.operations, done)})


def _tasks(environment: Environment, arguments: list[str], announce: Callable[[str], None]) -> ProvisionReport:
    """Run pyinfra's process; return its report."""
    # In a session of its own: without a terminal nothing in it can stop to ask for a password.
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
        said: deque[str] = deque(maxlen=_LAST_LINES)
        listener = Thread(target=_listen, args=(process.stderr, announce, said), daemon=True)
        try:
            listener.start()
            _send(process.stdin, environment.model_dump_json().encode())
            [output] = exchange([process.stdout], never, None)
            listener.join()
        except TooMuchError as much:
            process.kill()
            raise ProvisionError(f"pyinfra was ended: {much}", step="provision", next=_AGAIN) from much
        except BaseException:
            process.kill()
            raise
    return _report(output.decode(), process.returncode, said)


def _send(stdin: IO[bytes], document: bytes) -> None:
    try:
        with stdin:
            stdin.write(document)
    except BrokenPipeError:
        return  # it ended before it read; what it said on standard error is the reason


def _listen(stderr: IO[bytes], announce: Callable[[str], None], said: deque[str]) -> None:
    while line := stderr.readline(_LINE):
        said.append(line.decode(errors="replace").rstrip("\n"))
        announce(said[-1])


def _report(output: str, status: int, said: deque[str]) -> ProvisionReport:
    try:
        if status == 0:
            return ProvisionReport.model_validate_json(output)
        why = f"it ended with status {status}"
    except ValidationError as error:
        why = str(error)
    raise ProvisionError(
        f"pyinfra did not run: {why}",
        step="provision",
        seen="\n".join(said) or None,
        next=_AGAIN,
    )
