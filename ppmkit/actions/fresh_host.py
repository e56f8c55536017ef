"""A host that is gone: another one is brought to where a backup from elsewhere can take the place of its database."""

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
    """Provision a host on which nothing is deployed, and deploy to it; return whether there was need.

    Its steward leaves the target alone, since what lies there was not made by it. ``confirm`` is asked before.
    """
    if _serves(environment, address):
        return False
    confirm(
        f"{address.name}: nothing is deployed there. It will be provisioned, this checkout deployed to it, and then "
        "the backup restored. Go on?"
    )
    up.bring_up(environment.model_copy(update={"hosts": (address,)}), progress)
    return True


def _serves(environment: Environment, address: HostAddress) -> bool:
    try:
        with Host.connect(environment, address) as host:
            return last_record(host) is not None
    except HostUnreachable:  # nobody may be let in before it is provisioned; who is not there at all, is told of then
        return False
