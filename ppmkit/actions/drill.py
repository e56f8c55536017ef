"""`ppmctl backup drill`: a full test restore to a copy, on which the real api answers (L4)."""

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
    """The result of one drill; `drill --json` prints one object per drill."""

    host: str
    id: str
    outcome: Literal["ok", "failed", "inconclusive"]
    seconds: float
    """From the stored backup to an answer of the application: the time that a restore takes before its hold."""
    held_seconds: float = 0
    """Always 0: requests do not wait for a drill."""
    evidence: str


def drill(environment: Environment, address: HostAddress, ids: list[str]) -> list[Drill]:
    """Restore backups to a copy and let the api read and write there: these, or the latest and a random other one.

    The result is stored next to each backup. Raises UsageError when there is no backup.
    """
    refuse_invalid_ids(ids, environment.name)
    key = identity(environment)
    with locked(environment, address, "backup drill") as host, steward_client(host) as steward:
        live = inspect(host).live
        chosen = ids or _sample(steward.ask("list-backups"))
        if not chosen or live is None:
            raise UsageError(f"{host.name}: there is no backup", next=f"ppmctl backup create -e {environment.name}")
        return [_drill(steward, f"api-{live}", id, key) for id in chosen]


def _sample(backups: list[dict[str, Any]]) -> list[str]:
    """Given the backups, newest first, return the newest and one of the others."""
    ids: list[str] = [backup["id"] for backup in backups]
    return ids[:1] + ([random.choice(ids[1:])] if ids[1:] else [])  # noqa: S311 (the choice is not a secret)


def _drill(steward: StewardClient, service: str, id: str, key: str | None) -> Drill:
    began, copy = time.monotonic(), place(steward.host.environment, journal.new_operation())
    outcome: Literal["ok", "failed", "inconclusive"] = "ok"
    try:
        staged = stage(steward, service, id, key, copy)
        id = staged.id
        answer = on_copy(steward, service, copy, "check")
        evidence = f"{staged.said}; the api answered {len(answer['checks'])} requests on it"
    except (ContainerFailed, PreflightError) as failed:
        evidence = f"{failed.message}: {failed.seen or ''}".strip(": ")
        outcome = "inconclusive" if isinstance(failed, Inconclusive) else "failed"
    finally:
        steward.ask("remove", copy)
    seconds = round(time.monotonic() - began, 3)
    steward.ask("attest", "--", id, outcome, evidence, f"{seconds:g}")
    return Drill(host=steward.host.name, id=id, outcome=outcome, seconds=seconds, evidence=evidence)
