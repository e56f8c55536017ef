"""The section `backup` of an environment. Pure; the other sections are in ``ppmkit/config/environment.py``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import ByteSize, Field, NonNegativeInt, model_validator

from ppmkit.config.types import Bytes, Duration, Model, Name, Recipient


class Keep(Model):
    """Retention, as in restic: for each of the last N hours (days, …) that have backups, the newest one is kept."""

    last: NonNegativeInt = 3
    """Number of newest backups to keep."""
    hourly: NonNegativeInt = 0
    """Number of hours."""
    daily: NonNegativeInt = 7
    """Number of days. Days and all other periods are in UTC."""
    weekly: NonNegativeInt = 4
    """Number of weeks, which start on Monday."""
    monthly: NonNegativeInt = 6
    """Number of months."""
    yearly: NonNegativeInt = 0
    """Number of years."""
    safety: NonNegativeInt = 3
    """Number of safety backups, which a restore makes of the database that it replaces. No other rule counts these."""
    migration: NonNegativeInt = 3
    """Number of migration backups, which an upgrade or a rollback makes before it changes the schema. No other rule
    counts these."""


class Target(Model):
    """A remote location that every backup is copied to."""

    name: Name
    """The target's name, as in `ppmctl restore --from NAME`."""
    to: str = Field(pattern=r"^[A-Za-z0-9_][\w.+@ -]*:\S*[^/\s]$", examples=["offsite:bucket/ppm"])
    """A remote from the secret `rclone_conf` (an rclone.conf, https://rclone.org/docs), and a path on that remote."""


class Continuous(Model):
    """Ship every database change as it is made, so that `ppmctl restore --at TIME` can restore any moment."""

    keep: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(hours=24)
    """How far back you can restore, at least. Shipped changes take up space on the host for about twice as long."""
    interval: Annotated[Duration, Field(ge=timedelta(milliseconds=100))] = timedelta(seconds=1)
    """How often changes are shipped. A restore to TIME may miss what was written up to this long before TIME, plus the
    time that shipping took. It never contains anything that was written after TIME."""


TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", examples=["02:30"])]


class Backup(Model):
    """Backups: when and how they are made, who can read them, and how long they are kept."""

    at: Annotated[tuple[TimeOfDay, ...], Field(min_length=1)] = ("02:30",)
    """Times of day, in UTC, at which the steward makes a backup, removes the backups that no rule keeps, and copies the
    new one to the targets. If the steward was not running at these times, it makes one backup when it starts."""
    drill: str = Field("sun 04:30", pattern=r"^(mon|tue|wed|thu|fri|sat|sun) ([01]\d|2[0-3]):[0-5]\d$")
    """When, in UTC, the steward reads back the latest backup and one other. It compares the digests of every table, or,
    if the backup is encrypted, only checks that the file is unchanged. `ppmctl backup drill` checks more."""
    objective: Duration = timedelta(hours=26)
    """Maximum age of the newest backup. If it is older, the steward counts as unhealthy."""
    heartbeat: bool = False
    """After each scheduled backup that was verified, the steward sends a GET request to the URL in the secret
    `heartbeat_url`, so that an outside service notices when backups stop."""

    recipients: tuple[Recipient, ...] = ()
    """Public keys that backups are encrypted to: age (`age1…`) or SSH (`ssh-ed25519 …`). Without any, backups are not
    encrypted. Hosts need no private key."""
    identity_file: str | None = None
    """The file on this machine with the private key of one recipient. Only commands that read a backup need it
    (`backup verify`, `drill`, `restore`). Relative to the project's folder."""
    deadline: Duration = timedelta(hours=1)
    """How long making a backup may take."""
    wal_cap: Bytes = ByteSize(1 << 30)
    """How much the WAL may grow while the database is copied, because SQLite cannot empty it during that time. If it
    grows more, the backup is abandoned."""
    rate: Bytes | None = None
    """Maximum bytes per second at which the database is copied. Default: no limit."""
    keep: Keep = Keep()
    """How many backups are kept. A pinned backup and the newest verified one are always kept."""
    targets: tuple[Target, ...] = ()
    """Where every backup is copied to. Each copy is read back. When `backup prune` removes a backup on the host, it
    also removes the copies."""
    continuous: Continuous | None = None
    """Also keep every change between backups. Litestream stores the changes on the host. `{}` turns it on with its
    defaults. Default: off. The steward's container gets 256 MiB more memory for it. For each GB of the database
    above 4 GB, add about 60 MB to `services.steward.memory`."""

    @property
    def memory(self) -> ByteSize:
        """Memory that the steward's container gets in addition to its own limit, for Litestream."""
        return ByteSize(0 if self.continuous is None else 256 << 20)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that only the steward mounts."""
        needed = {"rclone_conf": bool(self.targets), "heartbeat_url": self.heartbeat}
        return tuple(name for name, is_needed in needed.items() if is_needed)

    @model_validator(mode="after")
    def _leaves_encrypted(self) -> Backup:
        if self.targets and not self.recipients:
            raise ValueError("copies that leave the host must be encrypted: `targets` needs `recipients`")
        names = [target.name for target in self.targets]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two targets have the same name: {', '.join(sorted(duplicates))}; rename one")
        return self
