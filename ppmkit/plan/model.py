"""Plan models: what a deploy would do, on one host and on all of them."""

from __future__ import annotations

from ppmkit.config.environment import Model
from ppmkit.plan.diff import Section
from ppmkit.plan.drift import Drift
from ppmkit.release.migrations import Revision
from ppmkit.release.model import Color


class Plan(Model):
    """What a deploy would do on one host."""

    target: Color
    """The color that will serve."""
    changes: tuple[str, ...]
    """One line per change; empty when there is nothing to do."""
    drift: tuple[Drift, ...] = ()
    """Differences between the host and the release that serves."""
    steward_alone: bool = False
    """Whether only backup settings change."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changes)


class Basis(Model):
    """The state that one host's plan was made from; a saved plan holds as long as all of it stays the same."""

    color: Color | None
    """The live color."""
    release: str | None
    """The release that serves or is recorded."""
    schema_revision: str | None
    """The database's revision; None when no api serves that could report it."""
    changes: tuple[str, ...]
    drift: tuple[str, ...]


class HostPlan(Model):
    """The changes on one host."""

    name: str
    problem: str | None = None
    """Why the host could not be inspected, with its name; the other fields are then empty."""
    basis: Basis | None = None
    sections: tuple[Section, ...] = ()
    migrations: tuple[Revision, ...] = ()
    drift: tuple[Drift, ...] = ()
    notes: tuple[str, ...] = ()
    """What is not known; a note does not count as a difference."""

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return bool(self.sections or self.migrations or self.drift)


class EnvironmentPlan(Model):
    """The changes on every host; output of `plan --json`, and saved by `plan --out`."""

    environment: str
    release: str
    changed: bool
    hosts: tuple[HostPlan, ...]
    notes: tuple[str, ...] = ()
    """Doubtful settings in the environment's file; a note does not count as a difference."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why hosts could not be inspected, a line each."""
        return tuple(host.problem for host in self.hosts if host.problem)
