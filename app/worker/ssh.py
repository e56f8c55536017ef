"""How git connects to a host by SSH: only with the deploy key, only to hosts whose keys are known, and without prompts.

It uses no agent and no SSH configuration of the user that runs the worker, and forwards nothing. OpenSSH's manual,
ssh_config(5), explains each option.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings

_OPTIONS = {
    "BatchMode": "yes",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "ClearAllForwardings": "yes",
    "ConnectTimeout": "30",
    "LogLevel": "ERROR",
}


@dataclass(frozen=True)
class Ssh:
    """A key, and the hosts that it is used with."""

    key: Path
    known_hosts: Path

    def options(self, host: str, port: int, address: str | None) -> tuple[str, ...]:
        """Return git's options to connect to a host: at this address, if one is given, checking the host's own key."""
        options = _OPTIONS | {"UserKnownHostsFile": str(self.known_hosts)}
        if address is not None:
            options |= {"HostName": address, "HostKeyAlias": host if port == 22 else f"[{host}]:{port}"}
        argv = ["ssh", "-F", "none", "-i", str(self.key)]
        argv += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return "-c", f"core.sshCommand={shlex.join(argv)}", "-c", "ssh.variant=ssh"


@contextmanager
def ready(settings: Settings) -> Iterator[Ssh | None]:
    """Yield the SSH access that the settings allow, or None. The key is in a folder that is deleted at the end.

    It is a copy, because the secret has lost its final newline, without which OpenSSH accepts no key.
    """
    if settings.git_deploy_key is None or not settings.scan_known_hosts:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="ppm-ssh-"))
    try:
        ssh = Ssh(folder / "key", folder / "known_hosts")
        ssh.key.touch(mode=0o600)
        ssh.key.write_text(f"{settings.git_deploy_key.get_secret_value().strip()}\n")
        ssh.known_hosts.write_text("".join(f"{line}\n" for line in settings.scan_known_hosts))
        yield ssh
    finally:
        shutil.rmtree(folder, ignore_errors=True)
