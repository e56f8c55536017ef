"""Models of the report that the provisioning process prints."""

from __future__ import annotations

from ppmkit.config.environment import Model


class Operation(Model):
    """One requirement of a host."""

    name: str
    changed: bool
    """Whether it was changed; with ``check``: whether it would be."""
    ok: bool = True
    detail: str = ""
    """The actions taken (or planned), one line each; or why it failed."""


class HostReport(Model):
    """The result on one host."""

    name: str
    reached: bool
    error: str | None = None
    """Why provisioning failed on the host."""
    operations: tuple[Operation, ...] = ()
    notes: tuple[str, ...] = ()
    """Information that is not an error."""
    seconds: float = 0.0

    @property
    def changed(self) -> int:
        """The number of operations that changed something, or would."""
        return sum(operation.changed for operation in self.operations)


class ProvisionReport(Model):
    """The results on all hosts of the environment, in its order."""

    check: bool
    """Whether this was a dry run."""
    hosts: tuple[HostReport, ...]

    @property
    def changed(self) -> int:
        """The number of operations on all hosts that changed something, or would."""
        return sum(host.changed for host in self.hosts)

    @property
    def failed(self) -> tuple[HostReport, ...]:
        """The hosts on which provisioning failed."""
        return tuple(host for host in self.hosts if host.error)
