"""Another host of the lab, whose own sshd takes backups: a user with a key, who gets no shell."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ppmkit.lab import LabHost

FOLDER = "/home/keeper/ppm"
_ADD = """
id -u keeper > /dev/null 2>&1 || useradd --create-home --shell /usr/sbin/nologin --password '*' keeper
install -d -m 700 -o keeper -g keeper /home/keeper/.ssh
cat > /home/keeper/.ssh/authorized_keys
chown keeper: /home/keeper/.ssh/authorized_keys
"""
_NEW_KEYS = """
mkdir /etc/ssh/before
mv /etc/ssh/ssh_host_* /etc/ssh/before
systemctl restart ssh
"""
_OLD_KEYS = """
rm -f /etc/ssh/ssh_host_*
mv /etc/ssh/before/* /etc/ssh
rmdir /etc/ssh/before
systemctl restart ssh
"""


@dataclass(frozen=True)
class Keeper:
    """The host, and the private key of its user."""

    host: LabHost
    key: Path

    def root(self, script: str, stdin: str = "") -> str:
        """Run a script as root there, whatever its sshd says; return what it prints."""
        argv = ["docker", "exec", "-i", self.host.container, "sh", "-ec", script]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def remote(self, name: str) -> str:
        """Return the section of an rclone.conf that reaches it."""
        address = self.root("ip -4 -oneline address show dev eth0").split()[3].split("/")[0]
        pem = self.key.read_text().replace("\n", "\\n")
        known = " ".join(self.root("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
        return f"[{name}]\ntype = sftp\nhost = {address}\nuser = keeper\nkey_pem = {pem}\nhost_keys = {known}\n"

    def held(self) -> list[str]:
        """Return the ids of the backups there, oldest first."""
        return self.root(f"cd {FOLDER} && ls */manifest.json | cut -d / -f 1").split()

    @contextmanager
    def with_other_host_keys(self) -> Iterator[None]:
        """Let its sshd show other keys for as long as the block lasts, as a stranger in its place would."""
        self.root(_NEW_KEYS)
        try:
            yield
        finally:
            self.root(_OLD_KEYS)


def keeper(host: LabHost, folder: Path) -> Keeper:
    """Add the user to a host, with a new key."""
    key = folder / "keeper-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "keeper", "-f", str(key)], check=True)
    added = Keeper(host, key)
    added.root(_ADD, stdin=f'restrict,command="internal-sftp" {key.with_suffix(".pub").read_text()}')
    return added
