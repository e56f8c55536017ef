"""What provisioning changed, as its process reports it."""

from __future__ import annotations

from ppmkit.config.environment import Model


class Operation(Model):
    """One thing that a host must have."""

    name: str
    changed: bool
    """It was changed; with ``check``: it would be."""
    ok: bool = True
    detail: str = ""
    """What was or would be done, a line each; why it failed."""


class HostReport(Model):
    """How it went on one host."""

    name: str
    reached: bool
    error: str | None = None
    """Why the host is not as it should be."""
    operations: tuple[Operation, ...] = ()
    notes: tuple[str, ...] = ()
    """What is good to know, and no error."""
    seconds: float = 0.0

    @property
    def changed(self) -> int:
        """How many operations changed something, or would."""
        return sum(operation.changed for operation in self.operations)


class ProvisionReport(Model):
    """How it went on every host of the environment, in its order."""

    check: bool
    """Nothing was changed: this is what would be."""
    hosts: tuple[HostReport, ...]

    @property
    def changed(self) -> int:
        """How many operations changed something, or would, on all hosts."""
        return sum(host.changed for host in self.hosts)

    @property
    def failed(self) -> tuple[HostReport, ...]:
        """The hosts that are not as they should be."""
        return tuple(host for host in self.hosts if host.error)
