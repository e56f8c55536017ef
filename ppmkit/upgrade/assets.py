"""Old pages' assets: every frontend keeps its own on a volume; the assets of removed releases are pruned."""

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
    """Remove the assets of releases without a record on the host; return why that failed, or an empty text.

    A failure does not fail the deploy: at worst, users of a release removed long ago miss a file.
    """
    frontend = next((c for c in containers(host) if c.role == "frontend" and c.running), None)
    if frontend is None:
        return "no frontend is running"
    kept = [record.id for record in records(host)]
    argv = ["docker", "-H", f"unix://{host.docker_socket}", "exec", frontend.id, "keep-assets", *kept]
    try:
        result = bounded.run(argv, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"keep-assets did not finish within {_TIMEOUT_SECONDS} s"
    return (
        "" if result.returncode == 0 else result.stderr.strip() or f"keep-assets exited with status {result.returncode}"
    )
