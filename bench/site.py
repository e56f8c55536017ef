"""The site of the benchmarks: a fresh throwaway host that ppmctl deploys to, run as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import POLITE
from ppmkit.config.environment import Environment
from ppmkit.config.file import load as load_environment
from ppmkit.local.engine import local_docker
from ppmkit.paths import KIT

NAME, SSH_PORT = "bench", 2901


@contextmanager
def site(bake: str | None = "0s") -> Iterator[Environment]:
    """Yield an environment that is deployed to a fresh, separate host. ``bake`` is the time to wait; None is the
    default."""
    with tempfile.TemporaryDirectory(prefix="ppmctl-bench-") as inventory:
        state = f".ppmctl/{NAME}"
        settings = {
            "kind": "lab",
            "url": "http://localhost:8701",
            "hosts": [{"name": f"{NAME}-1", "address": "127.0.0.1", "port": SSH_PORT}],
            "ssh": {"identity_file": f"{state}/id_ed25519", "known_hosts_file": f"{state}/known_hosts"},
            "app": {"rate_limit_per_minute": 1_000_000},
            "secrets": {"directory": f"{inventory}/secrets"},
            "upgrade": {"bake": bake} if bake else {},
            "provision": {"firewall": False},  # the peers listen on a port that our stack does not use
        }
        (Path(inventory) / f"{NAME}.yaml").write_text(json.dumps(settings))
        os.environ["PPMCTL_INVENTORY"] = inventory
        try:
            ppmctl(KIT, "up", "-e", NAME)
            yield load_environment(NAME)
        finally:
            ppmctl(KIT, "down", "-e", NAME, "--purge", "--yes")


def address() -> str:
    """Return the host's own address: the port that the lab publishes goes through a proxy, which a server lacks."""
    container = local_docker().container.inspect(f"ppm-{NAME}-1")
    return next(str(network.ip_address) for network in (container.network_settings.networks or {}).values())


def ppmctl(checkout: Path, *argv: str) -> str:
    """Run the command line of a checkout; return what it prints on stdout."""
    done = subprocess.run(
        [*POLITE, sys.executable, str(checkout / "ppmctl.py"), *argv], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def change_code(checkout: Path) -> None:
    """Add a line to the api's code in a checkout: this makes another image with the same behavior."""
    code = checkout / "app" / "api" / "__init__.py"
    code.write_text(f"{code.read_text()}\n# {time.time_ns()}\n")


@contextmanager
def changed_checkout() -> Iterator[Path]:
    """Yield a copy of this checkout in which one line of the api's code differs."""
    with tempfile.TemporaryDirectory(prefix="ppmctl-bench-") as scratch:
        copy = Path(scratch) / "checkout"
        files = subprocess.run(["git", "-C", KIT, "ls-files", "-z"], capture_output=True, text=True, check=True)
        for name in filter(None, files.stdout.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(KIT / name, copy / name)
        for name in (".ppmctl", "secrets"):
            (copy / name).symlink_to(KIT / name)
        change_code(copy)
        yield copy
