"""Read the records and Compose files of the releases that were deployed to a host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ppmkit.errors import HostError
from ppmkit.release import render
from ppmkit.release.model import Record

if TYPE_CHECKING:
    from ppmkit.host.host import Host


def last_record(host: Host) -> Record | None:
    """Return the record that ``current`` points at, or None before the first deployment."""
    path = host.environment.directory / "current" / "release.json"
    text = host.read(path)
    return None if text is None else parse_record(host, str(path), text)


def records(host: Host) -> list[Record]:
    """Return every record on the host, newest first."""
    script = 'for file in "$1"/releases/*/release.json; do test -e "$file" && cat "$file" && echo; done; true'
    lines = host.run(["sh", "-c", script, "sh", str(host.environment.directory)]).stdout.splitlines()
    parsed = [parse_record(host, "a release.json", line) for line in lines if line]
    return sorted(parsed, key=lambda record: record.when, reverse=True)


def parse_record(host: Host, path: str, text: str) -> Record:
    """Given the text of a release.json, return the record. Raises HostError if it is not valid."""
    try:
        return Record.model_validate(json.loads(text))
    except (ValueError, ValidationError) as broken:
        raise HostError(
            f"{host.name}: {path} is not a record of this version of ppmctl",
            host=host.name,
            seen=str(broken),
            next="It was edited by hand, or a newer ppmctl wrote it; use that version",
        ) from broken


def compose_text(host: Host, release: str) -> str | None:
    """Return a release's Compose file from the host, or None if there is none."""
    return host.read(host.environment.directory / "releases" / release / render.COMPOSE)
