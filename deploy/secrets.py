"""The secrets of an environment: files here, files on its hosts, and never anything else.

Here they lie in ``secrets/<environment>/<name>``, mode 0600. On a host each version is a file of its own that
is never edited, so a release names exactly the values it ran with. The directory above them is open to the
deploy user only; the files themselves are readable, because the containers that mount them run as another user.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import secrets as random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploy import redact
from deploy.config import Model
from deploy.configfile import ROOT
from deploy.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from deploy.config import Environment
    from deploy.host import Host


class Secret(Model):
    """One version of a secret."""

    name: str
    version: str
    """Eight hex digits that follow from the value; too few, and too slow to compute, to guess the value by them."""
    value: SecretStr


@dataclass(frozen=True)
class _Kind:
    """What is known of a secret before there is one."""

    generated: bool
    min_length: int


_KINDS = {
    "session_secret": _Kind(generated=True, min_length=32),
    "oauth_client_secret": _Kind(generated=False, min_length=8),
    "rclone_conf": _Kind(generated=False, min_length=8),
}


def needed(environment: Environment) -> list[str]:
    """Return the names of the secrets that the environment's services mount."""
    github = ["oauth_client_secret"] if environment.app.oauth_client_id else []
    return ["session_secret", *github, *(["rclone_conf"] if environment.backup.targets else [])]


def directory(environment: Environment) -> Path:
    """Return where the environment's secrets lie on this machine."""
    return ROOT / (environment.secrets.directory or f"secrets/{environment.name}")


def read(environment: Environment) -> dict[str, Secret]:
    """Return the secrets that the environment needs, by name. Raises ConfigError naming every one that is not fit."""
    faults = [fault for name in needed(environment) if (fault := _fault(environment, name))]
    if faults:
        raise ConfigError(
            f"secrets of {environment.name}: {'; '.join(faults)}",
            step="secrets",
            next=f"ppmctl secrets init -e {environment.name} makes those that can be made and says what else to do",
        )
    return {name: _secret(name, _path(environment, name).read_text().strip()) for name in needed(environment)}


def init(environment: Environment) -> list[str]:
    """Create the secrets that can be generated; return what was done and what is left to do, one line each."""
    lines = []
    for name in needed(environment):
        path = _path(environment, name)
        if path.is_file():
            continue
        if _KINDS[name].generated:
            _write(path, random.token_urlsafe(48))
            lines.append(f"created {_shown(path)}")
        else:
            lines.append(f"{name} comes from elsewhere: ppmctl secrets set {name} -e {environment.name}")
    return lines


def set_secret(environment: Environment, name: str, value: str) -> Path:
    """Write a secret here and return its file; the next deploy brings it to the hosts. Raises UsageError."""
    if name not in _KINDS:
        near = difflib.get_close_matches(name, _KINDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no secret {name}{hint}", next=f"Secrets: {', '.join(_KINDS)}")
    if fault := _unfit(name, value):
        raise UsageError(f"{name} {fault}; nothing was changed", next=f"ppmctl secrets set {name}")
    path = _path(environment, name)
    _write(path, value)
    return path


def check(environment: Environment) -> list[str]:
    """Return what is wrong with the secrets here, one line each: missing, unfit, readable by others."""
    found = [fault for name in needed(environment) if (fault := _fault(environment, name))]
    place = directory(environment)
    files = sorted(place.iterdir()) if place.is_dir() else []
    open_ = [_shown(path) for path in files if path.stat().st_mode & 0o77]
    found += [f"{path} can be read by others: chmod 600 {path}" for path in open_]
    found += [f"{_shown(path)} is no secret that ppm knows" for path in files if path.name not in _KINDS]
    return found


def place(host: Host, secrets: Mapping[str, Secret]) -> int:
    """Write to the host the versions that it lacks; return how many those were."""
    there = host.environment.directory / "secrets"
    wanted = {there / secret.name / secret.version: secret for secret in secrets.values()}
    script = 'for file; do test -e "$file" || echo "$file"; done'
    missing = host.run(["sh", "-c", script, "sh", *map(str, wanted)]).stdout.split()
    for path, secret in wanted.items():
        if str(path) in missing:
            host.write(path, secret.value.get_secret_value(), mode=0o444)
    return len(missing)


def version_of(name: str, value: str) -> str:
    """Return the version that a value of this secret has. It takes 50 ms, on purpose."""
    stretched = hashlib.scrypt(value.encode(), salt=f"ppmctl/{name}".encode(), n=1 << 14, r=8, p=1, dklen=4)
    return stretched.hex()


def _path(environment: Environment, name: str) -> Path:
    return directory(environment) / name


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _secret(name: str, value: str) -> Secret:
    redact.learn(value)
    return Secret(name=name, version=version_of(name, value), value=SecretStr(value))


def _fault(environment: Environment, name: str) -> str | None:
    path = _path(environment, name)
    if not path.is_file():
        return f"{name} is missing ({_shown(path)})"
    fault = _unfit(name, path.read_text().strip())
    return f"{name} {fault} ({_shown(path)})" if fault else None


def _unfit(name: str, value: str) -> str | None:
    example = ROOT / "secrets.example" / name
    if example.is_file() and value == example.read_text().strip():
        return "is still the example"
    if len(value) < _KINDS[name].min_length:
        return f"is shorter than {_KINDS[name].min_length} characters"
    return None


def _write(path: Path, value: str) -> None:
    """Replace a file as a whole; nobody else can read it, at no time."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".new.")  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{value}\n")
        file.flush()
        os.fsync(descriptor)
    Path(scratch).replace(path)
