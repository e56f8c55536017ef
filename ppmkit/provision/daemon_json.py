"""Docker's daemon.json: what must be in it, and what differs. Pure, and without pyinfra: doctor reads it too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PATH = "/etc/docker/daemon.json"
WANTED: dict[str, Any] = {
    "live-restore": True,  # containers outlive a restart of the daemon, as its upgrades bring one
    "log-driver": "json-file",
    "log-opts": {"max-file": "3", "max-size": "10m"},  # no log fills the disk
    "userland-proxy": False,  # published ports by the kernel alone
}
"""The keys that ppmctl keeps; every other key is the host's own and stays."""
_RELOADABLE = frozenset({"live-restore"})
"""Keys of ours that the daemon reads anew on SIGHUP (dockerd(8), "Configuration reload behavior")."""


@dataclass(frozen=True)
class Change:
    """What is wrong with a daemon.json, and the file that it should be."""

    content: str
    differences: tuple[str, ...]
    restart: bool
    """A reload is not enough."""


def change(text: str | None) -> Change | None:
    """Given the text of a daemon.json, or None for no file, return what must change, or None.

    Raises ValueError when it is no JSON object. It is not replaced then: it may name the directory of all volumes.
    """
    found = json.loads(text) if text and text.strip() else {}
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  (the file's value is wrong, not a type of ours)
    wrong = [key for key in WANTED if found.get(key) != WANTED[key]]
    if not wrong:
        return None
    return Change(
        content=json.dumps(found | WANTED, indent=2, sort_keys=True) + "\n",
        differences=tuple(f"{key}: {_shown(found.get(key))} → {_shown(WANTED[key])}" for key in wrong),
        restart=not _RELOADABLE.issuperset(wrong),
    )


def _shown(value: object) -> str:
    return "not set" if value is None else json.dumps(value)
