"""`ppmctl backup create | list | show | verify | prune`: on every host of the environment, or on one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict

from ppmkit.backup.client import StewardClient, identity, refuse_invalid_ids, steward_client
from ppmkit.config.environment import Model
from ppmkit.host.session import locked, read_only
from ppmkit.operation.hosts import on_each_host

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress


class Summary(Model):
    """One backup; `backup list --json` prints one object per backup."""

    model_config = ConfigDict(extra="ignore")

    host: str
    id: str
    kind: Literal["manual", "nightly", "safety", "migration"]
    """`safety`: the database that a restore replaced. `migration`: the database before its schema changed."""
    pinned: bool
    created: datetime
    bytes: int
    """Size of the file; `plain_bytes` is the size of the database in it."""
    plain_bytes: int
    encrypted: bool
    revision: str | None
    rows: int
    verified: bool
    """Whether it was sound at the last check."""
    level: str | None
    """The level that the check reached."""
    checked: datetime | None


class Created(Summary):
    """A backup that was just made."""

    seconds: float
    targets: dict[str, str]
    """{name of a target: "ok", or the reason why the backup is not there}."""

    @property
    def missing(self) -> list[str]:
        """The targets that it was not copied to, with the reasons."""
        return [f"{self.host}: {name}: {state}" for name, state in self.targets.items() if state != "ok"]


class Creation(Model):
    """Output of `backup create --json`: the first host's backup, and each host's."""

    id: str
    bytes: int
    seconds: float
    verified: bool
    hosts: tuple[Created, ...]


class Verification(Model):
    """The result of one verification; `backup verify --json` prints one object per backup."""

    host: str
    id: str
    time: datetime
    level: str
    """The highest level that passed: L0 hash, L1 decode, L2 integrity, L3 digests."""
    outcome: Literal["ok", "failed", "inconclusive"]
    seen: str
    seconds: float


class Verdict(Model):
    """Whether one backup is kept; `backup prune --json` prints one object per backup."""

    host: str
    id: str
    keep: bool
    why: str


def create(environment: Environment, address: HostAddress | None, *, pinned: bool) -> Creation:
    """Back up the database of every host, or of one. Raises ContainerFailed when a backup fails verification."""
    command = ("backup", *(["--pinned"] if pinned else []))
    answers = _each(environment, address, "backup create", lambda steward: [steward.ask(*command)])
    hosts = tuple(Created.model_validate(one) for one in answers)
    first = hosts[0]
    return Creation(id=first.id, bytes=first.bytes, seconds=first.seconds, verified=first.verified, hosts=hosts)


def catalog(environment: Environment, address: HostAddress | None) -> list[Summary]:
    """Return the backups on every host, newest first; takes no lock."""
    answers = _each(environment, address, None, lambda steward: list(steward.ask("list-backups")))
    return [Summary.model_validate(one) for one in answers]


def show(environment: Environment, address: HostAddress, id: str) -> dict[str, object]:
    """Return the manifest and the evidence of one backup."""
    refuse_invalid_ids([id], environment.name)
    [backup] = _each(environment, address, None, lambda steward: [steward.ask("show", "--", id)])
    return backup


def verify(environment: Environment, address: HostAddress | None, ids: list[str]) -> list[Verification]:
    """Verify these backups, or all, as far as the key on this machine allows."""
    refuse_invalid_ids(ids, environment.name)
    key, command = identity(environment), ("check", *(["--", *ids] if ids else []))
    answers = _each(environment, address, "backup verify", lambda steward: list(steward.ask(*command, key=key)))
    return [Verification.model_validate(one) for one in answers]


def prune(environment: Environment, address: HostAddress | None, *, dry_run: bool) -> list[Verdict]:
    """Remove the backups that no rule keeps; return a verdict for each backup."""
    command = ("retain", *(["--dry-run"] if dry_run else []))
    answers = _each(environment, address, "backup prune", lambda steward: list(steward.ask(*command)))
    return [Verdict.model_validate(one) for one in answers]


def _each(
    environment: Environment,
    address: HostAddress | None,
    command: str | None,
    act: Callable[[StewardClient], list[dict[str, object]]],
) -> list[dict[str, object]]:
    """Return the stewards' answers, one host after the other, each with its host; with a command, under the lock."""

    def on(address: HostAddress, _: threading.Event) -> list[dict[str, object]]:
        connected = locked(environment, address, command) if command else read_only(environment, address)
        with connected as host, steward_client(host) as steward:
            return [{"host": address.name, **answer} for answer in act(steward)]

    chosen = environment if address is None else environment.model_copy(update={"hosts": (address,)})
    return [answer for answers in on_each_host(chosen, 1, on) for answer in answers]
