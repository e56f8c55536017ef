"""Record of the ppmctl version that last changed a host, so that an older one does not touch files it may misread.

The record is ``version.json`` on the host. The file is missing if only versions without this record changed the host.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ppmkit import __version__
from ppmkit.errors import HostNewer

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from ppmkit.host.host import Host

FILE = "version.json"
_NUMBERS = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")


def refusal(name: str, record: str | None, ours: str = __version__) -> HostNewer | None:
    """Given a host's name and the text of its record, return the error that stops this ppmctl; None if it may continue.

    A record that names no version stops it too: a newer ppmctl may use another record format.
    """
    if record is None:
        return None
    try:
        last = json.loads(record)["version"]
        newer = numbers(last) > numbers(ours)
    except (ValueError, TypeError, KeyError, RecursionError):
        return HostNewer(
            f"{name}: {FILE} in the environment's directory on the host does not name a version of ppmctl",
            host=name,
            next=f"Use the newest ppmctl that has changed this host. If that is this one ({ours}), remove the file",
        )
    if not newer:
        return None
    return HostNewer(
        f"{name}: ppmctl {last} changed this host last; this is ppmctl {ours}, which may misread its files",
        host=name,
        next=f"Use ppmctl {last} or newer (in a clone: git pull, then make setup)",
    )


def numbers(version: str) -> tuple[int, ...]:
    """Return (0, 2, 0) for "0.2.0". Raises ValueError for anything but three numbers."""
    match = _NUMBERS.fullmatch(version)
    if match is None:
        raise ValueError("not a version: three numbers with dots between them")
    return tuple(int(number) for number in match.groups())


def look(host: Host) -> HostNewer | None:
    """Return the error that stops this ppmctl on the host; None if it may continue."""
    return refusal(host.name, host.read(_path(host)))


def refuse(host: Host) -> None:
    """Raise HostNewer if a newer ppmctl has changed the host."""
    if (error := look(host)) is not None:
        raise error


def record(host: Host) -> None:
    """Record this ppmctl's version on the host; write nothing if it is recorded already."""
    text = f"{json.dumps({'version': __version__})}\n"
    if host.read(_path(host)) != text:
        host.write(_path(host), text)


def _path(host: Host) -> PurePosixPath:
    return host.environment.directory / FILE
