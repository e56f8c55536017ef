"""Preparation of a replacement host, so that a backup from elsewhere can be restored to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.actions import up
from ppmkit.errors import HostUnreachable
from ppmkit.host.host import Host
from ppmkit.release.records import last_record

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.progress import Confirm, Progress


def prepare(environment: Environment, address: HostAddress, progress: Progress, confirm: Confirm) -> bool:
    """Provision a host on which nothing is deployed, and deploy to it; return whether that was needed.

    Its steward does not write to the target, because the backups there are another steward's. ``confirm`` asks first.
    """
    if _serves(environment, address):
        return False
    confirm(
        f"{address.name}: nothing is deployed there. It will be provisioned, then this checkout deployed, then the "
        "backup restored. Continue?"
    )
    up.bring_up(environment.model_copy(update={"hosts": (address,)}), progress)
    return True


def _serves(environment: Environment, address: HostAddress) -> bool:
    try:
        with Host.connect(environment, address) as host:
            return last_record(host) is not None
    except HostUnreachable:  # not provisioned yet, or unreachable; provisioning will report which
        return False
