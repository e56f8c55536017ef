"""What an environment says of its backups. Pure; the rest of the environment is in ``ppmkit/config/environment.py``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import ByteSize, Field, NonNegativeInt, model_validator

from ppmkit.config.types import Bytes, Duration, Model, Name, Recipient


class Keep(Model):
    """How many backups stay, with restic's meaning: of each of the last N hours (days, …) that have one, the newest.

    One that is pinned, and the newest that is verified, stay whatever these say.
    """

    last: NonNegativeInt = 3
    """The newest ones."""
    hourly: NonNegativeInt = 0
    """Hours."""
    daily: NonNegativeInt = 7
    """Days, in UTC; so are the others."""
    weekly: NonNegativeInt = 4
    """Weeks, from Monday on."""
    monthly: NonNegativeInt = 6
    """Months."""
    yearly: NonNegativeInt = 0
    """Years."""
    safety: NonNegativeInt = 3
    """Of those that a restore made of what it replaced; they count for nothing else."""
    migration: NonNegativeInt = 3
    """Of those that an upgrade or a rollback made before it changed the schema; they count for nothing else."""


class Target(Model):
    """A place elsewhere that every backup is copied to."""

    name: Name
    """What it is called: `ppmctl restore --from NAME`."""
    to: str = Field(pattern=r"^[A-Za-z0-9_][\w.+@ -]*:\S*[^/\s]$", examples=["offsite:bucket/ppm"])
    """A remote of the secret `rclone_conf`, which is an rclone.conf (https://rclone.org/docs), and a path there."""


class Continuous(Model):
    """Every change of the database, shipped as it is made: `ppmctl restore --at TIME` brings back any moment.

    The steward's container gets 256 MiB for it. A database of more than 4 GB needs about 60 MB for each further GB:
    raise `services.steward.memory`.
    """

    keep: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(hours=24)
    """How far back, at the least; what is shipped takes room on the host for about twice as long."""
    interval: Annotated[Duration, Field(ge=timedelta(milliseconds=100))] = timedelta(seconds=1)
    """How often what was written is shipped: of what was written so long before TIME, and while that was shipped, some
    may be missing; of what was written after it, nothing is there."""


TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", examples=["02:30"])]


class Backup(Model):
    """Backups: when and how they are made, who can read them, how long they stay."""

    at: Annotated[tuple[TimeOfDay, ...], Field(min_length=1)] = ("02:30",)
    """Times of day, in UTC, at which the steward makes one, removes those that no rule keeps, and copies it to the
    targets. What was missed while it did not run is made up for, once."""
    drill: str = Field("sun 04:30", pattern=r"^(mon|tue|wed|thu|fri|sat|sun) ([01]\d|2[0-3]):[0-5]\d$")
    """When the steward reads back the latest backup and another one, in UTC: down to the digests of every table where
    they are not encrypted, else whether the file is still what was written. `ppmctl backup drill` goes further."""
    objective: Duration = timedelta(hours=26)
    """How old the newest backup may get; then the steward counts as unhealthy."""
    heartbeat: bool = False
    """After each backup that was made on the schedule and verified, the steward gets the URL in the secret
    `heartbeat_url`, so that somebody else notices when there is none."""

    recipients: tuple[Recipient, ...] = ()
    """Public keys of age (`age1…`) or SSH (`ssh-ed25519 …`) that backups are encrypted to; none: not encrypted. Hosts
    need no private key."""
    identity_file: str | None = None
    """The private key of one of them, on this machine: only what reads a backup needs it (`backup verify`, `drill`,
    `restore`). Relative to the project's folder."""
    deadline: Duration = timedelta(hours=1)
    """How long one may take."""
    wal_cap: Bytes = ByteSize(1 << 30)
    """By how much the WAL may grow while the database is copied: SQLite cannot empty it meanwhile. More gives the
    backup up."""
    rate: Bytes | None = None
    """Bytes a second at most while the database is copied. Default: as fast as it goes."""
    keep: Keep = Keep()
    targets: tuple[Target, ...] = ()
    """Where every backup is copied to; what came there is read back. `backup prune` removes there what goes here."""
    continuous: Continuous | None = None
    """Between two backups: every change is kept too, on the host, by Litestream. `{}` for the defaults. Default: none
    is."""

    @property
    def memory(self) -> ByteSize:
        """What the steward's container may use beyond its own limit: Litestream is in it, too."""
        return ByteSize(0 if self.continuous is None else 256 << 20)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that the steward mounts, and nobody else."""
        wanted = {"rclone_conf": bool(self.targets), "heartbeat_url": self.heartbeat}
        return tuple(name for name, needed in wanted.items() if needed)

    @model_validator(mode="after")
    def _leaves_encrypted(self) -> Backup:
        if self.targets and not self.recipients:
            raise ValueError("what leaves the host is encrypted: `targets` needs `recipients`")
        names = [target.name for target in self.targets]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two targets are called {', '.join(sorted(twice))}")
        return self
