"""Client for a host's steward, which makes, stores and reads backups, from the release that serves there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ppmkit.config.file import local_path
from ppmkit.errors import UsageError
from ppmkit.local.scratch import scratch
from ppmkit.orchestrator import oneoff
from ppmkit.redact import learn
from ppmkit.release.records import compose_text, last_record
from ppmkit.steward import paths

if TYPE_CHECKING:
    from python_on_whales import DockerClient

    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SPARE_SECONDS = 600
"""Additional time after the deadline of a copy: for checking, packing, decoding."""
_CHOWN = """
image=$1; shift
for directory; do
    mkdir -p "$directory"
    test "$(stat -c %u "$directory")" = 10001 && continue
    docker run --rm --network none --cap-drop ALL --cap-add CHOWN --user 0:0 --entrypoint chown \\
        -v "$directory:/given" "$image" 10001:10001 /given || exit 1
done
"""


@dataclass(frozen=True)
class StewardClient:
    """Runs commands of the steward."""

    host: Host
    compose: DockerClient

    def ask(self, *command: str, key: str | None = None) -> Any:
        """Return the steward's answer to a command, with a private key if it needs one. Raises ContainerFailed."""
        timeout = self.host.environment.backup.deadline.total_seconds() + _SPARE_SECONDS
        return oneoff.ask(self.host, self.compose, "steward", with_key(command, key), timeout=timeout, input=key)


@contextmanager
def steward_client(host: Host) -> Iterator[StewardClient]:
    """Yield a client for a host's steward. Raises UsageError when nothing is deployed there."""
    again = f"ppmctl deploy -e {host.environment.name}"
    record = last_record(host)
    text = compose_text(host, record.id) if record else None
    if record is None or text is None:
        raise UsageError(f"{host.name}: nothing is deployed", next=again)
    if "STEWARD" not in text:
        raise UsageError(f"{host.name}: the deployed release is too old to have backups", next=again)
    prepare_directories(host, record.release.images.steward)
    with scratch() as folder:
        file = folder / "compose.yaml"
        file.write_text(text, encoding="utf-8")
        yield StewardClient(host, host.compose(file))


def prepare_directories(host: Host, image: str) -> None:
    """Make the steward's user, which has no account on the host, the owner of its directories."""
    directories = (str(host.environment.directory / name) for name in paths.OWN)
    host.run(["sh", "-c", _CHOWN, "sh", image, *directories])


def with_key(command: Sequence[str], key: str | None) -> tuple[str, ...]:
    """Return a command of the steward, with the option to read a key if there is one."""
    return (command[0], "--key", *command[1:]) if key else tuple(command)


def refuse_invalid_ids(ids: Iterable[str], environment: str) -> None:
    """Raise UsageError for an invalid backup id, before any host is contacted."""
    for id in ids:
        if not _ID.fullmatch(id):
            raise UsageError(f"{id!r} is not a valid backup id", next=f"ppmctl backup list -e {environment}")


def identity(environment: Environment) -> str | None:
    """Return the private key that decrypts backups, or None when the config names none. Raises UsageError."""
    name = environment.backup.identity_file
    if name is None:
        return None
    path = local_path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"backup.identity_file: {path} cannot be read: {error.strerror}",
            next=f"Put the private key there, or fix deploy/inventory/{environment.name}.yaml",
        ) from error
    for line in text.splitlines():
        if not line.startswith("#"):
            learn(line)
    return text
