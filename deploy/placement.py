"""Secrets on a host: one file for each version, which nobody reads but the user that the services run as.

The files belong to that user, mode 0400, below a directory that only the user who deploys can enter. Giving a file
away takes root; who may use Docker has that in a container, so it is one that writes them and reads them again: with
no network, no log, and of the release's own image. Values come and go through its standard input and output.
"""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from deploy import redact
from deploy.errors import CommandFailed

if TYPE_CHECKING:
    from deploy.host import Host
    from deploy.secrets import Secret

OWNER = "10001"
"""The user of every service in docker-compose.yml.j2."""
MODE = "400"

# A file that is there already is replaced: a container that has it mounted keeps the one it has.
_WRITE = f"""
set -eu
umask 077
rm -rf .new; mkdir .new; trap 'rm -rf .new' EXIT
tar -x --no-same-owner -C .new
for file in $(cd .new && find . -type f); do
  chmod {MODE} ".new/$file"; chown {OWNER}:{OWNER} ".new/$file"; sync ".new/$file"
  mv -f ".new/$file" "$file"; sync "$(dirname "$file")"
done
"""
_READ = """
for file; do
  test -f "$file" || continue
  printf '%s\\t%s\\t' "$file" "$(stat -c '%a %u' "$file")"; base64 -w 0 "$file"; echo
done
"""
_NO_IMAGE = 125


@dataclass(frozen=True)
class Placed:
    """One version of a secret as it lies on a host."""

    value: str
    fault: str | None
    """Who else may read it, if anybody."""


def place(host: Host, secrets: Mapping[str, Secret], image: str) -> int:
    """Write to the host the versions that it lacks; return how many those were."""
    there = _directory(host)
    wanted = {there / secret.name / secret.version: secret for secret in secrets.values()}
    # The proxy mounts some of these directories, and must get through. To everybody else the one above is closed.
    script = 'for file; do install -d -m 711 "${file%/*}" || exit; test -e "$file" || echo "$file"; done'
    missing = host.run(["sh", "-c", script, "sh", *map(str, wanted)]).stdout.split()
    write(host, [secret for path, secret in wanted.items() if str(path) in missing], image)
    return len(missing)


def write(host: Host, secrets: Iterable[Secret], image: str) -> None:
    """Write these versions, whatever is there of them."""
    archive, directories = io.BytesIO(), set()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for secret in secrets:
            content = secret.value.get_secret_value().encode()
            member = tarfile.TarInfo(f"{secret.name}/{secret.version}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            directories.add(str(_directory(host) / secret.name))
    if directories:
        # Of the user that deploys: old versions are removed without a container.
        host.run(["install", "-d", "-m", "711", *sorted(directories)])
        host.run(_inside(host, image, _WRITE), input=archive.getvalue())


def read(host: Host, versions: Mapping[str, str], image: str) -> dict[str, Placed]:
    """Given {name: version}, return {name/version: what lies there} of those that are there."""
    files = [f"{name}/{version}" for name, version in versions.items()]
    if not files:
        return {}
    done = host.run(_inside(host, image, _READ, *files), check=False)
    if done.status == _NO_IMAGE and "No such image" in done.stderr:
        return {}  # somebody removed it, and a deploy brings it again
    if done.status:
        raise CommandFailed(f"{host.name}: cannot read the versions of secrets", host=host.name, seen=done.stderr)
    found = {}
    for line in done.stdout.splitlines():
        file, rights, content = line.split("\t")
        value = base64.b64decode(content).decode(errors="replace").strip()
        redact.learn(value)
        found[file] = Placed(value, _fault(rights))
    return found


def _fault(rights: str) -> str | None:
    mode, owner = rights.split()
    return None if (mode, owner) == (MODE, OWNER) else f"it has mode {mode} and is of user {owner}"


def _directory(host: Host) -> PurePosixPath:
    return host.environment.directory / "secrets"


def _inside(host: Host, image: str, script: str, *arguments: str) -> list[str]:
    """Return the argv that runs a script as root of a container, in the directory of the secrets."""
    rights = ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE", "--user", "0:0"]
    closed = ["--network", "none", "--read-only", "--security-opt", "no-new-privileges", "--log-driver", "none"]
    mount = ["--volume", f"{_directory(host)}:/secrets", "--workdir", "/secrets"]
    start = ["docker", "run", "--rm", "--interactive", "--pull", "never", *rights, *closed, *mount]
    return [*start, "--entrypoint", "sh", image, "-c", script, "sh", *arguments]
