"""Exception hierarchy: every error that a user may see.

PpmctlError                     exit code 1: the command failed; the message says what to run next
├── ConfigError                 exit code 2: the environment's YAML or a secret is wrong
├── UsageError                  exit code 2: the command line asks for something impossible
├── HostError                   a host did not carry out a request
│   ├── HostUnreachable         no connection
│   ├── HostKeyChanged          the host's key is not the one in known_hosts
│   ├── CommandFailed           a command on the host exited with a non-zero status
│   ├── ContainerFailed         a one-off container on the host failed or timed out
│   │   ├── DatabaseDamaged     the steward cannot read a database
│   │   └── Inconclusive        the steward cannot decide: a key or disk space is missing
│   ├── HostLocked              another operation holds the host's lock
│   └── HostNewer               a newer ppmctl has changed the host
├── EngineError                 Docker on this machine is missing or too old
├── BuildError                  an image did not build
├── ShipError                   an image did not arrive intact
├── PlanStale                   a saved plan no longer matches what a deploy would do
├── BackupError                 some copies of a backup are missing
├── ProvisionError              pyinfra could not bring a host to the desired state
├── PreflightError              an operation could not succeed, so it was not started; nothing was changed
└── OperationError              a step of an operation failed; the message names the release that serves now
    └── NotReady                the new containers did not become ready in time

Raise the most specific one. One handler in ``ppmctl.py`` prints it and chooses the exit code.
"""

from __future__ import annotations

from typing import Self

__all__ = [
    "BackupError",
    "BuildError",
    "CommandFailed",
    "ConfigError",
    "ContainerFailed",
    "DatabaseDamaged",
    "EngineError",
    "HostError",
    "HostKeyChanged",
    "HostLocked",
    "HostNewer",
    "HostUnreachable",
    "Inconclusive",
    "NotReady",
    "OperationError",
    "PlanStale",
    "PpmctlError",
    "PreflightError",
    "ProvisionError",
    "ShipError",
    "UsageError",
]


class PpmctlError(Exception):
    """Base class: what failed, where, the evidence, and what to run next.

    ``message`` is one sentence for a person. ``seen`` is evidence (output, a status and its body) without
    secrets. ``next`` is a command, or a sentence that names one. All attributes are read-only, so
    ``str(error)`` is always the message. :meth:`with_context` makes a new error.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        step: str | None = None,
        host: str | None = None,
        seen: str | None = None,
        next: str | None = None,
    ) -> None:
        super().__init__(message)
        self._message = message
        self._step = step
        self._host = host
        self._seen = seen
        self._next = next

    @property
    def message(self) -> str:
        """One sentence that says what failed."""
        return self._message

    @property
    def step(self) -> str | None:
        """The step that failed."""
        return self._step

    @property
    def host(self) -> str | None:
        """The name of the affected host."""
        return self._host

    @property
    def seen(self) -> str | None:
        """The evidence, such as output or a status."""
        return self._seen

    @property
    def next(self) -> str | None:
        """The command to run, or the fix."""
        return self._next

    def with_context(
        self, message: str, *, step: str | None = None, host: str | None = None, next: str | None = None
    ) -> Self:
        """Return an error of the same class with another message, for ``raise … from`` this one.

        ``step`` and ``host`` override this error's values. ``next`` is used only if this error has none.
        """
        return type(self)(
            message, step=step or self.step, host=host or self.host, seen=self.seen, next=self.next or next
        )

    def as_dict(self) -> dict[str, str | None]:
        """Return the ``--json`` form: {error, step, host, seen, next}."""
        return {
            "error": self.message,
            "step": self.step,
            "host": self.host,
            "seen": self.seen,
            "next": self.next,
        }


class ConfigError(PpmctlError):
    """The environment's YAML, or a secret that it names, is missing or invalid."""

    exit_code = 2


class UsageError(PpmctlError):
    """The command line asks for something impossible."""

    exit_code = 2


class HostError(PpmctlError):
    """A host did not carry out a request."""


class HostUnreachable(HostError):
    """The SSH connection to the host failed or was lost."""


class HostKeyChanged(HostError):
    """The host's key is not the one in known_hosts, or is not known."""


class CommandFailed(HostError):
    """A command on the host exited with a non-zero status."""


class ContainerFailed(HostError):
    """A one-off container on the host failed or timed out."""


class DatabaseDamaged(ContainerFailed):
    """The steward cannot read a database: the file is corrupt, or its disk is failing."""


class Inconclusive(ContainerFailed):
    """The steward lacks a key or disk space, so the state of the backup is unknown."""


class HostLocked(HostError):
    """Another operation holds the host's lock."""


class HostNewer(HostError):
    """A newer ppmctl has changed the host, and this one may misread its files."""


class EngineError(PpmctlError):
    """Docker, Compose or buildx on this machine is missing, too old or not answering."""


class BuildError(PpmctlError):
    """An image did not build."""


class ShipError(PpmctlError):
    """An image did not arrive on the host intact."""


class PlanStale(PpmctlError):
    """A saved plan no longer matches what a deploy would do; nothing was changed."""


class BackupError(PpmctlError):
    """A backup was created but did not reach every target."""


class ProvisionError(PpmctlError):
    """pyinfra could not bring one or more hosts to the desired state."""


class PreflightError(PpmctlError):
    """An operation could not succeed, so it was not started; nothing was changed."""


class OperationError(PpmctlError):
    """A step of an operation failed; the message says whether it was undone and what serves now."""


class NotReady(OperationError):
    """The new containers did not become ready in time."""
