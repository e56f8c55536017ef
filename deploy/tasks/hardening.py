"""Harden a host: SSH by key only, a firewall that Docker cannot open, security updates, limits."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import OperationError
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.facts.files import FileContents

from deploy.tasks.base import Machine
from deploy.tasks.command import Script
from deploy.tasks.connection import current_environment
from deploy.tasks.packages import INSTALL_TIMEOUT, packages
from deploy.tasks.swap import swap
from ppmkit.provision.host_files import FIREWALL, LOADED, UNIT, UNIT_FILE, HostFile, firewall, host_files
from ppmkit.provision.root_login import FILE

# The previous file is restored if the new one cannot be applied.
_APPLY = """
set -e
umask 022
mkdir -p "$(dirname "$path")"
trap 'rm -f "$path.ppm-new" "$path.ppm-before"' EXIT
cp -p "$path" "$path.ppm-before" 2>/dev/null || true
cat > "$path.ppm-new"; sync "$path.ppm-new"
mv -f "$path.ppm-new" "$path"
if apply >&2; then exit 0; fi
if test -e "$path.ppm-before"; then mv -f "$path.ppm-before" "$path"; else rm -f "$path"; fi
apply || true
echo "$path could not be applied, or another file overrides it; the previous one is restored" >&2
exit 1
"""
_LOAD = f"""
set -e
umask 022
trap 'rm -f {FIREWALL}.new' EXIT
cat > {FIREWALL}.new
nft --check -f {FIREWALL}.new
mv -f {FIREWALL}.new {FIREWALL}
cat > /etc/systemd/system/{UNIT} <<'END'
{UNIT_FILE}END
systemctl daemon-reload
systemctl enable -q {UNIT}
systemctl restart {UNIT}
nft --terse list table inet ppm > {LOADED}.new
mv -f {LOADED}.new {LOADED}
"""


class SshPorts(FactBase[list[int]]):
    """The ports that sshd listens on."""

    default = list

    def command(self) -> str:
        """Return the command that prints a port on each line."""
        return "sshd -T 2>/dev/null | awk '$1 == \"port\" {print $2}'"

    def process(self, output: list[str]) -> list[int]:
        """Given sshd's output, return the ports."""
        return sorted({int(line) for line in output})


class FirewallLoaded(FactBase[bool]):
    """Whether the kernel still has the rules that were loaded, and a boot loads them again."""

    default = bool

    def command(self) -> str:
        """Return the command that prints a word if so."""
        return (
            f"systemctl is-enabled -q {UNIT} 2>/dev/null && nft --terse list table inet ppm 2>/dev/null "
            f"| cmp -s - {LOADED} && echo loaded; true"
        )

    def process(self, output: list[str]) -> bool:
        """Given the output, return whether the word was printed."""
        return output == ["loaded"]


class Holds(FactBase[bool]):
    """Whether a command succeeds."""

    default = bool

    def command(self, check: str) -> str:
        """Return the command that prints a word if the check succeeds."""
        return f"if {check}; then echo holds; fi"

    def process(self, output: list[str]) -> bool:
        """Given the output, return whether the word was printed."""
        return "holds" in output


@operation()
def kept(file: HostFile) -> Generator[StringCommand, None, None]:
    """Write a file and apply it."""
    foreign = file.kernel and host.get_fact(Machine)["container"]
    apply, holds = ("true", "true") if foreign else (file.apply, file.holds)
    same = host.get_fact(FileContents, path=file.path) == file.content.splitlines()
    if same and host.get_fact(Holds, check=holds):
        return
    script = f"path={file.path}\napply() {{ {apply} && {holds}; }}\n{_APPLY}"
    why = ", which is not in force" if same else ""
    yield Script(script, summary=f"write {file.path}{why}, then: {apply}", stdin=file.content)


@operation()
def ports(rules: str) -> Generator[StringCommand, None, None]:
    """Apply the firewall's rules, now and after each boot."""
    same = host.get_fact(FileContents, path=FIREWALL) == rules.splitlines()
    if not same or not host.get_fact(FirewallLoaded):
        why = "they are not in force" if same else "they differ"
        yield Script(_LOAD, summary=f"write {FIREWALL} and load it: {why}", stdin=rules)


@operation()
def root_login() -> Generator[StringCommand, None, None]:
    """Enable root's login with a key again if it was disabled (``ppmkit/provision/root_login.py``)."""
    if host.get_fact(FileContents, path=FILE) is not None:
        yield Script(f"rm -f {FILE} && sshd -t && systemctl reload ssh", summary="let root log in, with a key")


def _ssh_ports() -> Sequence[int]:
    numbers = host.get_fact(SshPorts)
    if not numbers:
        raise OperationError("sshd does not report its port, so a firewall could lock out all users")
    return numbers


@deploy("Hardening")
def hardening() -> None:
    """Harden the host."""
    environment = current_environment()
    needed = [
        "sudo",
        *(["nftables"] if environment.provision.firewall else []),
        *(["auditd"] if environment.provision.audit else []),
        *(["unattended-upgrades"] if environment.provision.security_updates else []),
    ]
    packages(name="Packages of the hardening", names=needed, _timeout=INSTALL_TIMEOUT)
    for file in host_files(environment):
        kept(name=file.name, file=file)
    if environment.provision.swap:
        swap(name="Swap", size=int(environment.provision.swap))
    if environment.root_login:
        root_login(name="Root login")
    if environment.provision.firewall:
        ports(name="Firewall", rules=firewall(environment, _ssh_ports()))
