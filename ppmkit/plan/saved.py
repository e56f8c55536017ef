"""Saved plans: write, read, and compare with the hosts' current state. A deploy requires that its plan still holds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ppmkit.errors import PlanStale, UsageError
from ppmkit.host.session import read_only
from ppmkit.local.pool import Pool
from ppmkit.plan import inspection
from ppmkit.plan.decide import stale
from ppmkit.plan.model import Basis, EnvironmentPlan
from ppmkit.proxy import probe
from ppmkit.redact import redacted_json
from ppmkit.release import render

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.host.host import Host
    from ppmkit.plan.inspection import HostState
    from ppmkit.release.model import Release


def write(plan: EnvironmentPlan, file: Path) -> None:
    """Replace a file with the plan; other users cannot read it. Raises UsageError when it cannot be written."""
    try:
        descriptor, scratch = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(redacted_json(plan.model_dump(mode="json"), indent=2))
        Path(scratch).replace(file)
    except OSError as error:
        raise UsageError(
            f"cannot write {file}: {error.strerror}", next="Use --out FILE with an existing directory"
        ) from error


def read(file: Path, environment: str) -> EnvironmentPlan:
    """Return a saved plan. Raises UsageError when the file is not a plan, or is one of another environment."""
    again = _again(environment, file)
    try:
        plan = EnvironmentPlan.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", next=again) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not a plan of this version of ppmctl", next=again) from error
    if plan.environment != environment:
        raise UsageError(f"{file} is a plan of {plan.environment}, not of {environment}", next=again)
    return plan


def confirm(environment: Environment, saved: EnvironmentPlan, release: Release) -> None:
    """Inspect every host in parallel. Raises PlanStale, before anything is changed, when the plan no longer holds."""
    names, planned = [host.name for host in environment.hosts], [host.name for host in saved.hosts]
    if release.id != saved.release:
        refuse(
            environment, [f"this checkout and its config build release {release.id}, the plan is for {saved.release}"]
        )
    if names != planned:
        refuse(environment, [f"the hosts are {', '.join(names)}, the plan is for {', '.join(planned)}"])
    rendered = render.tree(environment, release)

    def differences(address: HostAddress) -> list[str]:
        with read_only(environment, address) as host:
            return confirm_host(host, saved, inspection.inspect_host(host, release, rendered))

    with Pool() as pool:
        refuse(environment, [line for lines in pool.map(differences, environment.hosts) for line in lines])


def confirm_host(host: Host, saved: EnvironmentPlan, state: HostState) -> list[str]:
    """Return why the plan no longer holds on one host, a line each."""
    [planned] = [plan for plan in saved.hosts if plan.name == host.name]
    return [f"{host.name}: {line}" for line in stale(planned, basis_of(host, state))]


def basis_of(host: Host, state: HostState) -> Basis:
    """Return the state that the host's plan is made from."""
    return Basis(
        color=state.stack.live,
        release=state.base.id if state.base else None,
        schema_revision=probe.schema_revision(host) if state.stack.live else None,
        changes=state.plan.changes,
        drift=tuple(item.line for item in state.drift),
    )


def refuse(environment: Environment, differences: Sequence[str]) -> None:
    """Raise PlanStale when there are differences."""
    if differences:
        raise PlanStale(
            "the plan no longer holds; nothing was changed",
            step="plan",
            seen="\n".join(differences),
            next=_again(environment.name),
        )


def _again(environment: str, file: Path | None = None) -> str:
    return f"ppmctl plan -e {environment} --out {file or 'FILE'}"
