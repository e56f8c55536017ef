"""A plan: what a deploy would do, on one host and on all of them."""

from __future__ import annotations

from ppmkit.config.environment import Model
from ppmkit.plan.diff import Section
from ppmkit.plan.drift import Drift
from ppmkit.release.migrations import Revision
from ppmkit.release.model import Color


class Plan(Model):
    """What a deploy would do on one host."""

    target: Color
    """The colour that will serve."""
    changes: tuple[str, ...]
    """For people, one line each; empty when there is nothing to do."""
    drift: tuple[Drift, ...] = ()
    """What is not as the release says that serves."""
    steward_alone: bool = False
    """Nothing changes but the settings of backups."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changes)


class Basis(Model):
    """What the plan of one host was made from; a saved plan holds for as long as all of this is the same."""

    color: Color | None
    """The live one."""
    release: str | None
    """What serves or is recorded."""
    schema_revision: str | None
    """The database's; None when nothing serves that could tell."""
    changes: tuple[str, ...]
    drift: tuple[str, ...]


class HostPlan(Model):
    """What would change on one host."""

    name: str
    problem: str | None = None
    """Why the host could not be looked at, with its name; then there is nothing else."""
    basis: Basis | None = None
    sections: tuple[Section, ...] = ()
    migrations: tuple[Revision, ...] = ()
    drift: tuple[Drift, ...] = ()
    notes: tuple[str, ...] = ()
    """What is not known, and no difference."""

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return bool(self.sections or self.migrations or self.drift)


class EnvironmentPlan(Model):
    """What would change on every host; what `plan --json` prints and `plan --out` saves."""

    environment: str
    release: str
    changed: bool
    hosts: tuple[HostPlan, ...]
    notes: tuple[str, ...] = ()
    """What the environment's file says and may not mean; no difference."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why hosts could not be looked at, a line each."""
        return tuple(host.problem for host in self.hosts if host.problem)
