"""Copies of backups elsewhere, by rclone (https://rclone.org): SFTP, S3 and all else that it knows.

A target is a remote of rclone.conf and a path there, "offsite:bucket/ppm". As here, a backup is one once its manifest
is there: so that is sent last, and only after the data was read back.
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
_NO_DIRECTORY = 3  # https://rclone.org/docs/#exit-code; nothing was copied there yet
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
    # What came there is read back: no server is asked for its own hashes, by a shell that it need not give us.
    "--sftp-shell-type",
    "none",
)
_OTHER_KEY = re.compile(r"host key mismatch for (\S+): (.+?)(?: -- |$)")
OK = "ok"


def push(backup: Backup, targets: Mapping[str, str]) -> dict[str, str]:
    """Copy a backup to every target, side by side; return {target: "ok", or why it is not there}."""

    def one(target: str) -> str:
        try:
            _push(backup, f"{target}/{backup.id}")
        except (StewardError, OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return OK

    with ThreadPoolExecutor(max(1, len(targets))) as pool:
        return dict(zip(targets, pool.map(one, targets.values()), strict=True))


def _push(backup: Backup, there: str) -> None:
    data = backup.manifest["data"]
    _rclone("copyto", str(backup.file), f"{there}/{data['file']}")
    if (found := _hash(f"{there}/{data['file']}")) != data["sha256"]:
        raise StewardError(f"what was read back from {there} is not what was sent: {found}")
    for name in (EVIDENCE, MANIFEST):
        _rclone("copyto", str(backup.directory / name), f"{there}/{name}")


def _hash(file: str) -> str:
    """Return the SHA-256 of a file there, by reading it: what a server says of it is not what it keeps."""
    return _rclone("hashsum", "sha256", "--download", file).partition(" ")[0]


def listed(target: str) -> list[str]:
    """Return the ids of the backups there, oldest first."""
    argv = ("lsjson", "--recursive", "--files-only", "--max-depth", "2", target)
    found = json.loads(_rclone(*argv, or_status=_NO_DIRECTORY) or "[]")
    return sorted(file["Path"].split("/")[0] for file in found if file["Path"].endswith(f"/{MANIFEST}"))


def fetch(target: str, id: str, backups: Path) -> Backup:
    """Bring a backup here, unless it is; "latest" is the newest there. Raises StewardError when it is not whole."""
    there = listed(target)
    if id == "latest" and there:
        id = there[-1]
    if id not in there:
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


def _fetch(there: str, incoming: Path) -> None:
    _rclone("copyto", f"{there}/{MANIFEST}", str(incoming / MANIFEST))
    wanted = catalog.read(incoming)
    data = wanted.manifest["data"]
    need_room(incoming, data["bytes"])
    _rclone("copyto", f"{there}/{data['file']}", str(wanted.file))
    if hashed(wanted.file) != data["sha256"]:
        raise StewardError(f"what came from {there} is not what its manifest names: it was damaged there")
    _rclone("copyto", f"{there}/{EVIDENCE}", str(incoming / EVIDENCE))


def forget(target: str, id: str) -> None:
    """Remove a backup there, its manifest first."""
    if id in listed(target):
        _rclone("deletefile", f"{target}/{id}/{MANIFEST}")
        _rclone("purge", f"{target}/{id}")


def _rclone(*argv: str, or_status: int = 0) -> str:
    """Run rclone; return what it prints. Raises StewardError with its last words for another status than these."""
    done = subprocess.run(
        ["rclone", *_FLAGS, *argv], capture_output=True, encoding="utf-8", timeout=_SECONDS, check=False
    )
    if done.returncode not in (0, or_status):
        raise StewardError(_other_key(done.stderr) or f"rclone {argv[0]}: {_last_words(done)}")
    return "" if done.returncode else done.stdout.strip()


def _other_key(said: str) -> str | None:
    """Given what rclone has said, return why it did not trust a server, if that is why it failed."""
    found = _OTHER_KEY.search(said)
    if found is None:
        return None
    where, keys = found.groups()
    return f"{where} shows another host key than the secret rclone_conf has in `host_keys`; nothing was sent: {keys}"


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    words = done.stderr.strip().splitlines()
    return words[-1] if words else f"status {done.returncode}"
