"""Secrets on a host: one file for each version, which nobody reads but the user that the services run as.

The files belong to that user, mode 0400, below a directory that only the user who deploys can enter. Giving a file
away takes root; who may use Docker has that in a container, so it is one that writes them and reads them again: with
no network, no log, and of the release's own image. Values come and go through its standard input and output. The
file `placed` beside them says how each looked when it was written.
"""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit import redact
from ppmkit.config.environment import Model
from ppmkit.errors import CommandFailed
from ppmkit.secrets.manage import version_of

if TYPE_CHECKING:
    from ppmkit.host.host import Host
    from ppmkit.secrets.manage import Secret

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
_LOOKS = "%n %i %s %a %u %z"
"""What stat(1) prints of a file. Whoever changes its content, its mode or its owner changes `%z`, whether or not they
set its other times back."""
_PLACED = "placed"
"""How each file looked when it had been written; nobody has touched one that still looks so."""
_NOTE = f"""cd "$1"; shift; stat -c '{_LOOKS}' "$@" >> {_PLACED}; sync {_PLACED}"""
_UNTOUCHED = f"""
cd "$1" || exit 0
shift
for file; do stat -c '{_LOOKS}' "$file" 2> /dev/null | grep -qxFf - {_PLACED} && echo "$file"; done 2> /dev/null
true
"""


def place(host: Host, secrets: Mapping[str, Secret], image: str) -> int:
    """Write to the host the versions that it lacks; return how many those were."""
    if not secrets:
        return 0
    wanted = {f"{secret.name}/{secret.version}": secret for secret in secrets.values()}
    # Of the user that deploys: old versions are removed without a container. The proxy mounts some of these
    # directories, and must get through. To everybody else the one above is closed.
    host.run(["install", "-d", "-m", "711", *sorted(str(_directory(host) / name) for name in secrets)])
    missing = wanted.keys() - _untouched(host, wanted)
    write(host, [wanted[file] for file in sorted(missing)], image)
    return len(missing)


def _untouched(host: Host, files: Iterable[str]) -> set[str]:
    """Return those of the files that are there as they were written."""
    argv = ["sh", "-c", _UNTOUCHED, "sh", str(_directory(host)), *files]
    return set(host.run(argv).stdout.splitlines())


def write(host: Host, secrets: Iterable[Secret], image: str) -> None:
    """Write these versions, whatever is there of them."""
    archive, files = io.BytesIO(), []
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for secret in secrets:
            content = secret.value.get_secret_value().encode()
            member = tarfile.TarInfo(f"{secret.name}/{secret.version}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            files.append(member.name)
    if files:
        host.run(_inside(host, image, _WRITE), input=archive.getvalue())
        host.run(["sh", "-c", _NOTE, "sh", str(_directory(host)), *files])


def read(host: Host, versions: Mapping[str, str], image: str) -> dict[str, SecretFile]:
    """Given {name: version}, return {name/version: what lies there} of those that are there.

    A container reads only what does not look as it did when it was written: to start one takes the processor from
    users.
    """
    files = {f"{name}/{version}": version for name, version in versions.items()}
    found = {file: SecretFile(version=files[file]) for file in _untouched(host, files)}
    doubtful = files.keys() - found.keys()
    if not doubtful:
        return found
    done = host.run(_inside(host, image, _READ, *sorted(doubtful)), check=False)
    if done.status == _NO_IMAGE and "No such image" in done.stderr:
        return found  # somebody removed it, and a deploy brings it again
    if done.status:
        raise CommandFailed(f"{host.name}: cannot read the versions of secrets", host=host.name, seen=done.stderr)
    for line in done.stdout.splitlines():
        file, rights, content = line.split("\t")
        value = base64.b64decode(content).decode(errors="replace").strip()
        redact.learn(value)
        found[file] = SecretFile(version=version_of(file.partition("/")[0], value), fault=_fault(rights))
    return found


def value(host: Host, name: str, version: str, image: str) -> str | None:
    """Return the value that lies there as this version; None when there is none, or another one."""
    lines = host.run(_inside(host, image, _READ, f"{name}/{version}")).stdout.splitlines()
    for line in lines:
        found = base64.b64decode(line.rpartition("\t")[2]).decode(errors="replace").strip()
        redact.learn(found)
        if version_of(name, found) == version:
            return found
    return None


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


class SecretFile(Model):
    """One version of a secret as it lies on a host."""

    version: str
    """The one that its content has."""
    fault: str | None = None
    """What is wrong with its mode or owner."""
