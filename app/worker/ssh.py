"""How git reaches a host by SSH: with the deploy key alone, only hosts whose keys are known, and asking nobody.

No agent, no configuration of whoever runs the worker, nothing forwarded. OpenSSH's own manual, ssh_config(5), says what
each option does.
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
    """A key, and the hosts that it is shown to."""

    key: Path
    known_hosts: Path

    def options(self, host: str, port: int, address: str | None) -> tuple[str, ...]:
        """Return what git is told, to ask a host; at this address, if one is given, and with the host's own key."""
        options = _OPTIONS | {"UserKnownHostsFile": str(self.known_hosts)}
        if address is not None:
            options |= {"HostName": address, "HostKeyAlias": host if port == 22 else f"[{host}]:{port}"}
        argv = ["ssh", "-F", "none", "-i", str(self.key)]
        argv += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return "-c", f"core.sshCommand={shlex.join(argv)}", "-c", "ssh.variant=ssh"


@contextmanager
def ready(settings: Settings) -> Iterator[Ssh | None]:
    """Yield what the settings allow, None when that is nothing; the key lies in a folder that goes at the end.

    In a copy: a secret has lost the end of its last line, without which OpenSSH takes no key.
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
