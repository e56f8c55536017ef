"""Secrets on a host: one file per version, readable only by the user that the services run as.

The files belong to that user, mode 0400, below a directory that only the deploy user can enter. Changing a file's owner
requires root, which a Docker user has inside a container. So a container writes and reads the files: without network,
without a log, and from the release's own image. Values pass through its standard input and output. The file `placed`
next to them records each file's metadata when it was written.
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

# An existing file is replaced: a container that has it mounted keeps the old one.
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
"""The format for stat(1). Any change to a file's content, mode or owner changes `%z`, even if its other times are
reset."""
_PLACED = "placed"
"""Records each file's metadata after it was written. A file with the same metadata is unchanged."""
_NOTE = f"""cd "$1"; shift; stat -c '{_LOOKS}' "$@" >> {_PLACED}; sync {_PLACED}"""
_UNTOUCHED = f"""
cd "$1" || exit 0
shift
for file; do stat -c '{_LOOKS}' "$file" 2> /dev/null | grep -qxFf - {_PLACED} && echo "$file"; done 2> /dev/null
true
"""


def place(host: Host, secrets: Mapping[str, Secret], image: str) -> int:
    """Write the versions that the host lacks; return their number."""
    if not secrets:
        return 0
    by_file = {f"{secret.name}/{secret.version}": secret for secret in secrets.values()}
    # The directories belong to the deploy user, who removes old versions without a container. The proxy mounts some of
    # them and must be able to enter. The directory above is closed to all other users.
    host.run(["install", "-d", "-m", "711", *sorted(str(_directory(host) / name) for name in secrets)])
    missing = by_file.keys() - _untouched(host, by_file)
    write(host, [by_file[file] for file in sorted(missing)], image)
    return len(missing)


def _untouched(host: Host, files: Iterable[str]) -> set[str]:
    """Return the files that exist and are unchanged since they were written."""
    argv = ["sh", "-c", _UNTOUCHED, "sh", str(_directory(host)), *files]
    return set(host.run(argv).stdout.splitlines())


def write(host: Host, secrets: Iterable[Secret], image: str) -> None:
    """Write these versions, and replace existing ones."""
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
    """Given {name: version}, return {name/version: state} of the files that exist.

    A container is started only for files whose metadata changed, because starting one takes CPU time from users.
    """
    files = {f"{name}/{version}": version for name, version in versions.items()}
    states = {file: SecretFile(version=files[file]) for file in _untouched(host, files)}
    changed = files.keys() - states.keys()
    if not changed:
        return states
    result = host.run(_inside(host, image, _READ, *sorted(changed)), check=False)
    if result.status == _NO_IMAGE and "No such image" in result.stderr:
        return states  # the image was removed, and a deploy ships it again
    if result.status:
        raise CommandFailed(f"{host.name}: cannot read the secret versions", host=host.name, seen=result.stderr)
    for line in result.stdout.splitlines():
        file, rights, content = line.split("\t")
        value = base64.b64decode(content).decode(errors="replace").strip()
        redact.learn(value)
        states[file] = SecretFile(version=version_of(file.partition("/")[0], value), fault=_fault(rights))
    return states


def value(host: Host, name: str, version: str, image: str) -> str | None:
    """Return the value of this version on the host; None if the file is missing or has other content."""
    lines = host.run(_inside(host, image, _READ, f"{name}/{version}")).stdout.splitlines()
    for line in lines:
        content = base64.b64decode(line.rpartition("\t")[2]).decode(errors="replace").strip()
        redact.learn(content)
        if version_of(name, content) == version:
            return content
    return None


def _fault(rights: str) -> str | None:
    mode, owner = rights.split()
    return None if (mode, owner) == (MODE, OWNER) else f"it has mode {mode} and belongs to user {owner}"


def _directory(host: Host) -> PurePosixPath:
    return host.environment.directory / "secrets"


def _inside(host: Host, image: str, script: str, *arguments: str) -> list[str]:
    """Return the argv that runs a script as root in a container, in the secrets directory."""
    rights = ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE", "--user", "0:0"]
    closed = ["--network", "none", "--read-only", "--security-opt", "no-new-privileges", "--log-driver", "none"]
    mount = ["--volume", f"{_directory(host)}:/secrets", "--workdir", "/secrets"]
    start = ["docker", "run", "--rm", "--interactive", "--pull", "never", *rights, *closed, *mount]
    return [*start, "--entrypoint", "sh", image, "-c", script, "sh", *arguments]


class SecretFile(Model):
    """One secret file on a host."""

    version: str
    """The version of its actual content."""
    fault: str | None = None
    """The problem with its mode or owner, if any."""
