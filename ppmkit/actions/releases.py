"""`ppmctl releases` and `history`: a host's records and journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppmkit.errors import UsageError
from ppmkit.host.session import read_only
from ppmkit.images import sbom
from ppmkit.operation import journal
from ppmkit.orchestrator.stack import Stack, inspect
from ppmkit.release.model import Record
from ppmkit.release.records import records

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.operation.journal import OperationSummary


def releases(environment: Environment, address: HostAddress) -> tuple[list[Record], Stack]:
    """Return the records on a host, newest first, and what runs there."""
    with read_only(environment, address) as host:
        return records(host), inspect(host)


def release(
    environment: Environment, address: HostAddress, name: str | None, *, ask: bool = False
) -> tuple[Record, str | None]:
    """Return the record of a release (the newest without a name), and its SBOM, if one is stored with it.

    With ``ask``, its images are inspected if there is none. Raises UsageError, and BuildError when they are gone.
    """
    with read_only(environment, address) as host:
        matches = [record for record in records(host) if name in (None, record.id)]
        if not matches:
            what = f"no release {name}" if name else "no release yet"
            raise UsageError(f"{host.name} has {what}", next=f"ppmctl releases -e {environment.name}")
        bill = host.read(environment.directory / "releases" / matches[0].id / sbom.FILE)
        return matches[0], sbom.on_host(host, matches[0].release) if bill is None and ask else bill


def history(environment: Environment, address: HostAddress) -> list[OperationSummary]:
    """Return the operations in the host's journal, newest first."""
    with read_only(environment, address) as host:
        return journal.history(journal.lines(host))
