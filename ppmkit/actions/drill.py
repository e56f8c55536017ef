"""`ppmctl backup drill`: a full test restore beside what serves. The real api answers on the restored copy (L4)."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Literal

from ppmkit.backup.client import StewardClient, identity, refuse_invalid_ids, steward_client
from ppmkit.config.environment import Model
from ppmkit.errors import ContainerFailed, Inconclusive, PreflightError, UsageError
from ppmkit.host.session import locked
from ppmkit.operation import journal
from ppmkit.orchestrator.stack import inspect
from ppmkit.restore.staging import on_copy, place, stage

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress


class Drill(Model):
    """How one went; what `drill --json` prints of each."""

    host: str
    id: str
    outcome: Literal["ok", "failed", "inconclusive"]
    seconds: float
    """From the backup as it lies there to an answer of the application: what a restore takes before its hold."""
    held_seconds: float = 0
    """Nobody waits for a drill."""
    evidence: str


def drill(environment: Environment, address: HostAddress, ids: list[str]) -> list[Drill]:
    """Restore backups to a copy and let the api read and write there: these, or the latest and another by chance.

    What comes of it is kept beside each backup. Raises UsageError when there is none.
    """
    refuse_invalid_ids(ids, environment.name)
    key = identity(environment)
    with locked(environment, address, "backup drill") as host, steward_client(host) as steward:
        live = inspect(host).live
        chosen = ids or _some(steward.ask("list-backups"))
        if not chosen or live is None:
            raise UsageError(f"{host.name}: there is no backup", next=f"ppmctl backup create -e {environment.name}")
        return [_drill(steward, f"api-{live}", id, key) for id in chosen]


def _some(found: list[dict[str, Any]]) -> list[str]:
    """Given the backups, newest first, return the newest and one of the others."""
    ids: list[str] = [each["id"] for each in found]
    return ids[:1] + ([random.choice(ids[1:])] if ids[1:] else [])  # noqa: S311 (it is no secret which)


def _drill(steward: StewardClient, service: str, id: str, key: str | None) -> Drill:
    began, copy = time.monotonic(), place(steward.host.environment, journal.new_operation())
    outcome: Literal["ok", "failed", "inconclusive"] = "ok"
    try:
        found = stage(steward, service, id, key, copy)
        id = found.id
        answered = on_copy(steward, service, copy, "check")
        seen = f"{found.said}; the api answered {len(answered['checks'])} requests on it"
    except (ContainerFailed, PreflightError) as failed:
        seen = f"{failed.message}: {failed.seen or ''}".strip(": ")
        outcome = "inconclusive" if isinstance(failed, Inconclusive) else "failed"
    finally:
        steward.ask("remove", copy)
    seconds = round(time.monotonic() - began, 3)
    steward.ask("attest", "--", id, outcome, seen, f"{seconds:g}")
    return Drill(host=steward.host.name, id=id, outcome=outcome, seconds=seconds, evidence=seen)
