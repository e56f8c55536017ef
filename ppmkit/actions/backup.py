"""`ppmctl backup create | list | show | verify | prune`: on every host of the environment, or one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import ConfigDict

from ppmkit.backup.client import StewardClient, identity, refuse_invalid_ids, steward_client
from ppmkit.config.environment import Model
from ppmkit.host.session import locked, read_only
from ppmkit.operation.hosts import on_each_host

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress

Done = TypeVar("Done")


class Summary(Model):
    """One backup; what `backup list --json` prints of each."""

    model_config = ConfigDict(extra="ignore")

    host: str
    id: str
    kind: Literal["manual", "nightly", "safety", "migration"]
    """`safety`: what a restore replaced. `migration`: what there was before the schema changed."""
    pinned: bool
    created: datetime
    bytes: int
    """Of the file; `plain_bytes` of the database in it."""
    plain_bytes: int
    encrypted: bool
    revision: str | None
    rows: int
    verified: bool
    """It was sound when it was last looked at."""
    level: str | None
    """How far that went."""
    checked: datetime | None


class Created(Summary):
    """A backup that was just made."""

    seconds: float
    targets: dict[str, str]
    """{name of a target: "ok", or why the backup is not there}."""

    @property
    def missing(self) -> list[str]:
        """The targets that it did not get to, with why."""
        return [f"{self.host}: {name}: {said}" for name, said in self.targets.items() if said != "ok"]


class Creation(Model):
    """What `backup create --json` prints: of the first host, and of each."""

    id: str
    bytes: int
    seconds: float
    verified: bool
    hosts: tuple[Created, ...]


class Verification(Model):
    """How one verification went; what `backup verify --json` prints of each."""

    host: str
    id: str
    time: datetime
    level: str
    """The highest rung that held: L0 hash, L1 decode, L2 integrity, L3 digests."""
    outcome: Literal["ok", "failed", "inconclusive"]
    seen: str
    seconds: float


class Verdict(Model):
    """What becomes of one backup; what `backup prune --json` prints of each."""

    host: str
    id: str
    keep: bool
    why: str


def create(environment: Environment, address: HostAddress | None, *, pinned: bool) -> Creation:
    """Back up the database of every host, or of one. Raises ContainerFailed when one is not proven; then it is none."""
    command = ("backup", *(["--pinned"] if pinned else []))
    made = _each(environment, address, "backup create", lambda steward: [steward.ask(*command)])
    hosts = tuple(Created.model_validate(one) for one in made)
    first = hosts[0]
    return Creation(id=first.id, bytes=first.bytes, seconds=first.seconds, verified=first.verified, hosts=hosts)


def catalog(environment: Environment, address: HostAddress | None) -> list[Summary]:
    """Return the backups on every host, newest first; takes no lock."""
    found = _each(environment, address, None, lambda steward: list(steward.ask("list-backups")))
    return [Summary.model_validate(one) for one in found]


def show(environment: Environment, address: HostAddress, id: str) -> dict[str, object]:
    """Return the manifest and the evidence of one backup."""
    refuse_invalid_ids([id], environment.name)
    [found] = _each(environment, address, None, lambda steward: [steward.ask("show", "--", id)])
    return found


def verify(environment: Environment, address: HostAddress | None, ids: list[str]) -> list[Verification]:
    """Verify these backups, or all, as far as the key on this machine allows."""
    refuse_invalid_ids(ids, environment.name)
    key, command = identity(environment), ("check", *(["--", *ids] if ids else []))
    found = _each(environment, address, "backup verify", lambda steward: list(steward.ask(*command, key=key)))
    return [Verification.model_validate(one) for one in found]


def prune(environment: Environment, address: HostAddress | None, *, dry_run: bool) -> list[Verdict]:
    """Remove the backups that no rule keeps; return what became of each."""
    command = ("retain", *(["--dry-run"] if dry_run else []))
    found = _each(environment, address, "backup prune", lambda steward: list(steward.ask(*command)))
    return [Verdict.model_validate(one) for one in found]


def _each(
    environment: Environment,
    address: HostAddress | None,
    command: str | None,
    act: Callable[[StewardClient], list[dict[str, object]]],
) -> list[dict[str, object]]:
    """Return what the stewards answer, host after host, each with its host; under the lock if there is a command."""

    def on(address: HostAddress, _: threading.Event) -> list[dict[str, object]]:
        connected = locked(environment, address, command) if command else read_only(environment, address)
        with connected as host, steward_client(host) as steward:
            return [{"host": address.name, **found} for found in act(steward)]

    chosen = environment if address is None else environment.model_copy(update={"hosts": (address,)})
    return [found for host in on_each_host(chosen, 1, on) for found in host]
