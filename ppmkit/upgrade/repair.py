"""Repair of manual changes on a host that the other steps would leave as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.plan import inspection
from ppmkit.plan.drift import LIMITS
from ppmkit.release import render
from ppmkit.secrets import on_host

if TYPE_CHECKING:
    from ppmkit.operation.transaction import Operation

_OPTIONS = {"pids": "pids_limit"}


def repair(operation: Operation) -> str:
    """Rewrite edited files, and reset the limits of containers that stay; return what was done."""
    items = {item.what: item.means for item in operation.drift}
    repairs = [*_files(operation, set(items)), *_containers(operation, set(items))]
    return ", ".join(repairs) or "nothing was changed by hand"


def _files(operation: Operation, drifted: set[str]) -> list[str]:
    environment, release = operation.environment, operation.release
    where = f"releases/{release.id}/"
    wanted = {where + path: text for path, text in render.tree(environment, release).items()}
    values = {f"secrets/{secret.name}/{secret.version}": secret for secret in operation.secrets.values()}
    for path in sorted(drifted & wanted.keys()):
        operation.host.write(environment.directory / path, wanted[path])
    on_host.write(operation.host, [values[path] for path in sorted(drifted & values.keys())], release.images.steward)
    written = sorted(drifted & (wanted.keys() | values.keys()))
    extra = sorted(path for path in drifted - wanted.keys() if path.startswith(where))
    for path in extra:
        operation.host.run(["rm", "-f", str(environment.directory / path)])
    return [f"wrote {path}" for path in written] + [f"removed {path}" for path in extra]


def _containers(operation: Operation, drifted: set[str]) -> list[str]:
    """Undo `docker update` and `docker pause`, while the containers run."""
    kept = [c for c in operation.stack.containers if c.name in drifted and c.color in (None, operation.target)]
    if not kept:
        return []
    services = inspection.intended(
        render.compose(operation.environment, operation.release), operation.environment.project
    )
    engine = operation.host.docker.container
    repairs = []
    for container in kept:
        if container.status == "paused":
            engine.unpause(container.id)
            repairs.append(f"unpaused {container.name}")
        service = services.get(container.service)
        wanted = service.setup.model_dump(include=set(LIMITS), exclude_none=True) if service else {}
        if wanted != container.setup.model_dump(include=set(wanted)):
            engine.update(container.id, **{_OPTIONS.get(name, name): value for name, value in wanted.items()})
            repairs.append(f"reset the limits of {container.name}")
    return repairs
