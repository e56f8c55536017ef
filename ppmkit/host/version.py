"""Which ppmctl has changed a host, so that an older one leaves alone what it may misread.

A host says it in ``version.json``. One that no ppmctl with this record has changed yet has no such file.
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
    """Given a host's name and the text of its record, return the error that stops this ppmctl; None when it may go on.

    A record that names no version stops it too: a newer ppmctl may write another kind of record.
    """
    if record is None:
        return None
    try:
        last = json.loads(record)["version"]
        newer = numbers(last) > numbers(ours)
    except (ValueError, TypeError, KeyError, RecursionError):
        return HostNewer(
            f"{name}: {FILE} in the environment's directory there does not name a version of ppmctl",
            host=name,
            next=f"Use the newest ppmctl that has changed this host. If that is this one ({ours}), remove the file",
        )
    if not newer:
        return None
    return HostNewer(
        f"{name}: ppmctl {last} changed this host last, and this is ppmctl {ours}, which may misread what lies there",
        host=name,
        next=f"Use ppmctl {last} or newer (in a clone: git pull, then make setup)",
    )


def numbers(version: str) -> tuple[int, ...]:
    """Return (0, 2, 0) for "0.2.0". Raises ValueError for anything but three numbers."""
    found = _NUMBERS.fullmatch(version)
    if found is None:
        raise ValueError("not a version: three numbers with dots between them")
    return tuple(int(number) for number in found.groups())


def look(host: Host) -> HostNewer | None:
    """Return the error that stops this ppmctl on the host; None when it may go on."""
    return refusal(host.name, host.read(_path(host)))


def refuse(host: Host) -> None:
    """Raise HostNewer when a newer ppmctl has changed the host."""
    if (error := look(host)) is not None:
        raise error


def record(host: Host) -> None:
    """Note on the host that this ppmctl changes it; nothing is written where that is known."""
    text = f"{json.dumps({'version': __version__})}\n"
    if host.read(_path(host)) != text:
        host.write(_path(host), text)


def _path(host: Host) -> PurePosixPath:
    return host.environment.directory / FILE
