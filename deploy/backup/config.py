"""What an environment says of its backups. Pure; the rest of the environment is in ``deploy/config.py``."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ByteSize, Field, NonNegativeInt, model_validator

from deploy.configtypes import Bytes, Duration, Model, Name, Recipient


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


class Target(Model):
    """A place elsewhere that every backup is copied to."""

    name: Name
    """What it is called: `ppmctl restore --from NAME`."""
    to: str = Field(pattern=r"^[A-Za-z0-9_][\w.+@ -]*:\S*[^/\s]$", examples=["offsite:bucket/ppm"])
    """A remote of the secret `rclone_conf`, which is an rclone.conf (https://rclone.org/docs), and a path there."""


class Backup(Model):
    """Backups: how they are made, who can read them, how long they stay."""

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

    @model_validator(mode="after")
    def _leaves_encrypted(self) -> Backup:
        if self.targets and not self.recipients:
            raise ValueError("what leaves the host is encrypted: `targets` needs `recipients`")
        names = [target.name for target in self.targets]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two targets are called {', '.join(sorted(twice))}")
        return self
