"""The assets of old pages: every frontend keeps its own on a volume, and those of releases that are gone go too."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from ppmkit.local import bounded
from ppmkit.orchestrator.stack import containers
from ppmkit.release.records import records

if TYPE_CHECKING:
    from ppmkit.host.host import Host

_TIMEOUT_SECONDS = 60


def prune(host: Host) -> str:
    """Keep the assets of the releases that have a record on the host; return why that did not go well, or nothing.

    That users of a release long gone may miss a file, or that a file is in the way, is no reason to fail a deploy.
    """
    frontend = next((c for c in containers(host) if c.role == "frontend" and c.running), None)
    if frontend is None:
        return "no frontend runs"
    kept = [record.id for record in records(host)]
    argv = ["docker", "-H", f"unix://{host.docker_socket}", "exec", frontend.id, "keep-assets", *kept]
    try:
        done = bounded.run(argv, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"keep-assets did not end within {_TIMEOUT_SECONDS} s"
    return "" if done.returncode == 0 else done.stderr.strip() or f"keep-assets ended with status {done.returncode}"
