"""Required settings of Docker's daemon.json, and differences from them. Pure, without pyinfra: doctor uses it too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PATH = "/etc/docker/daemon.json"
WANTED: dict[str, Any] = {
    "live-restore": True,  # containers survive a daemon restart, such as during its upgrades
    "log-driver": "json-file",
    "log-opts": {"max-file": "3", "max-size": "10m"},  # so that no log fills the disk
    "userland-proxy": False,  # the kernel alone publishes ports
}
"""The keys that ppmctl manages; every other key belongs to the host and stays."""
_RELOADABLE = frozenset({"live-restore"})
"""Managed keys that the daemon rereads on SIGHUP (dockerd(8), "Configuration reload behavior")."""


@dataclass(frozen=True)
class Change:
    """The differences in a daemon.json, and its required content."""

    content: str
    differences: tuple[str, ...]
    restart: bool
    """A reload is not enough."""


def change(text: str | None) -> Change | None:
    """Given the text of a daemon.json, or None for no file, return the necessary change, or None.

    Raises ValueError if it is not a JSON object. Then it is not replaced: it may name the directory of all volumes.
    """
    current = json.loads(text) if text and text.strip() else {}
    if not isinstance(current, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  (the file's value is wrong, not an argument's type)
    wrong = [key for key in WANTED if current.get(key) != WANTED[key]]
    if not wrong:
        return None
    return Change(
        content=json.dumps(current | WANTED, indent=2, sort_keys=True) + "\n",
        differences=tuple(f"{key}: {_shown(current.get(key))} → {_shown(WANTED[key])}" for key in wrong),
        restart=not _RELOADABLE.issuperset(wrong),
    )


def _shown(value: object) -> str:
    return "not set" if value is None else json.dumps(value)
