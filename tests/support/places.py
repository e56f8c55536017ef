"""Places elsewhere: real S3 and SFTP servers, both rclone's own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import running
from tests.support.waiting import eventually

RCLONE = str(Path(sys.executable).with_name("rclone"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


@contextmanager
def serving(kind: str, folder: Path, *options: str, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve a folder; yield the port."""
    folder.mkdir()
    port = free_port()
    argv = [RCLONE, "serve", kind, "--addr", f"{address}:{port}", *options, str(folder)]
    with running(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        assert eventually(lambda: listens(port, address), 20)
        yield port


def host_key(folder: Path) -> tuple[Path, str]:
    """Make a key for a server of SFTP; return its file, and what `host_keys` of an rclone.conf says of it."""
    file = folder / f"host-key-{free_port()}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file, " ".join(file.with_suffix(".pub").read_text().split()[:2])


def obscured(password: str) -> str:
    """Return a password as an rclone.conf has it."""
    done = subprocess.run([RCLONE, "obscure", password], capture_output=True, text=True, check=True)
    return done.stdout.strip()
