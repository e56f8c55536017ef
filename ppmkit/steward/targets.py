"""Off-site copies of backups through rclone (https://rclone.org): SFTP, S3 and its other storage systems.

A target is a remote in rclone.conf with a path, "offsite:bucket/ppm". As on the host, a backup is valid once it has a
manifest, so the manifest is sent last, after the data was read back.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import catalog
from .archive import hashed
from .catalog import EVIDENCE, MANIFEST, Backup
from .errors import StewardError
from .files import need_room

_SECONDS = 3600
_NO_DIRECTORY = 3  # https://rclone.org/docs/#exit-code; the target is still empty
_FLAGS = (
    "--retries",
    "3",
    "--low-level-retries",
    "3",
    "--contimeout",
    "15s",
    "--timeout",
    "60s",
    "--log-level",
    "ERROR",
    # Data is read back instead of asking the server for hashes, which would require a shell there.
    "--sftp-shell-type",
    "none",
)
_OTHER_KEY = re.compile(r"host key mismatch for (\S+): (.+?)(?: -- |$)")
OK = "ok"


def push(backup: Backup, targets: Mapping[str, str]) -> dict[str, str]:
    """Copy a backup to all targets in parallel; return {target: "ok" or the error}."""

    def one(target: str) -> str:
        try:
            _push(backup, f"{target}/{backup.id}")
        except (StewardError, OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return OK

    with ThreadPoolExecutor(max(1, len(targets))) as pool:
        return dict(zip(targets, pool.map(one, targets.values()), strict=True))


def _push(backup: Backup, remote: str) -> None:
    data = backup.manifest["data"]
    _rclone("copyto", str(backup.file), f"{remote}/{data['file']}")
    if (digest := _hash(f"{remote}/{data['file']}")) != data["sha256"]:
        raise StewardError(f"the data read back from {remote} differs from what was sent: {digest}")
    for name in (EVIDENCE, MANIFEST):
        _rclone("copyto", str(backup.directory / name), f"{remote}/{name}")


def _hash(file: str) -> str:
    """Return the SHA-256 of a remote file by reading it: a server's own hash does not prove what it stored."""
    return _rclone("hashsum", "sha256", "--download", file).partition(" ")[0]


def listed(target: str) -> list[str]:
    """Return the ids of the target's backups, oldest first."""
    argv = ("lsjson", "--recursive", "--files-only", "--max-depth", "2", target)
    files = json.loads(_rclone(*argv, or_status=_NO_DIRECTORY) or "[]")
    return sorted(file["Path"].split("/")[0] for file in files if file["Path"].endswith(f"/{MANIFEST}"))


def fetch(target: str, id: str, backups: Path) -> Backup:
    """Download a backup unless it is here; "latest" is the target's newest. Raises StewardError if it is damaged."""
    ids = listed(target)
    if id == "latest" and ids:
        id = ids[-1]
    if id not in ids:
        raise StewardError(f"there is no backup {id} at {target}")
    directory = backups / id
    if (directory / MANIFEST).exists():
        return catalog.read(directory)
    incoming = backups / f".incoming-{id}"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(mode=0o750, parents=True)
    try:
        _fetch(f"{target}/{id}", incoming)
        incoming.rename(directory)
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    return catalog.read(directory)


def _fetch(remote: str, incoming: Path) -> None:
    _rclone("copyto", f"{remote}/{MANIFEST}", str(incoming / MANIFEST))
    backup = catalog.read(incoming)
    data = backup.manifest["data"]
    need_room(incoming, data["bytes"])
    _rclone("copyto", f"{remote}/{data['file']}", str(backup.file))
    if hashed(backup.file) != data["sha256"]:
        raise StewardError(f"the data from {remote} does not match its manifest: it was damaged there")
    _rclone("copyto", f"{remote}/{EVIDENCE}", str(incoming / EVIDENCE))


def forget(target: str, id: str) -> None:
    """Remove a backup from a target, its manifest first."""
    if id in listed(target):
        _rclone("deletefile", f"{target}/{id}/{MANIFEST}")
        _rclone("purge", f"{target}/{id}")


def _rclone(*argv: str, or_status: int = 0) -> str:
    """Run rclone; return its output. Raises StewardError with its last line for a status other than 0 or or_status."""
    result = subprocess.run(
        ["rclone", *_FLAGS, *argv], capture_output=True, encoding="utf-8", timeout=_SECONDS, check=False
    )
    if result.returncode not in (0, or_status):
        raise StewardError(_key_mismatch(result.stderr) or f"rclone {argv[0]}: {_last_line(result)}")
    return "" if result.returncode else result.stdout.strip()


def _key_mismatch(errors: str) -> str | None:
    """Given rclone's errors, return the message for a host key mismatch, or None if that was not the reason."""
    match = _OTHER_KEY.search(errors)
    if match is None:
        return None
    where, keys = match.groups()
    return f"{where} shows another host key than the secret rclone_conf has in `host_keys`; nothing was sent: {keys}"


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"status {result.returncode}"
