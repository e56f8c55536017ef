"""Stores for secret values on this machine: age files, plain files, or a password manager's command.

Age files are meant to be committed: ``secrets/<environment>/<name>.age``, encrypted to ``secrets.recipients``. Next to
them, ``dates.json`` records when each secret got its value.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ppmkit.config.file import local_path
from ppmkit.errors import ConfigError, UsageError
from ppmkit.local.files import replace, shown, too_open
from ppmkit.secrets import age

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment

_COMMAND_TIMEOUT = 120


class Store(Protocol):
    """Secret values by name."""

    writable: bool
    """Whether ppmctl may write to it."""

    def prepare(self) -> str | None:
        """Create what writing requires; return a message if something was created."""

    def read(self, name: str) -> str | None:
        """Return the value, or None if there is none."""

    def write(self, name: str, value: str, since: datetime) -> None:
        """Replace the value."""

    def remove(self, name: str) -> None:
        """Remove the value."""

    def shown(self, name: str) -> str:
        """Return the value's location, for display."""

    def since(self) -> Mapping[str, datetime]:
        """Return when each secret got its value, where known."""

    def names(self) -> list[str]:
        """Return the names of all stored values."""

    def exposed(self) -> list[str]:
        """Return a line for each file that others can read but should not, with the fix."""


def open_store(environment: Environment) -> Store:
    """Return the store of the environment's secrets."""
    if environment.secrets.provider == "command":
        return Command(environment)
    kinds = {"age": AgeFiles, "files": PlainFiles}
    return kinds[environment.secrets.provider](environment)


class PlainFiles:
    """One file per secret, mode 0600."""

    writable = True
    suffix = ""
    dates = ".dates.json"
    mode = 0o600

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._directory = local_path(environment.secrets.directory or f"secrets/{environment.name}")

    def prepare(self) -> str | None:
        """Return None: there is nothing to create."""
        return None

    def read(self, name: str) -> str | None:
        """Return the value without its final line break, or None if there is no file."""
        path = self._path(name)
        return self._decode(path).strip() if path.is_file() else None

    def write(self, name: str, value: str, since: datetime) -> None:
        """Replace the file atomically. Other users cannot read it at any time."""
        replace(self._path(name), self._encode(f"{value}\n"), self.mode)
        self._date(name, since)

    def remove(self, name: str) -> None:
        """Remove the file."""
        self._path(name).unlink(missing_ok=True)
        self._date(name, None)

    def shown(self, name: str) -> str:
        """Return the file's path, relative if it is below the working directory."""
        return shown(self._path(name))

    def since(self) -> Mapping[str, datetime]:
        """Return the content of the dates file."""
        return {name: datetime.fromisoformat(text) for name, text in self._dates().items()}

    def names(self) -> list[str]:
        """Return the names of all files, including files that are not secrets of this kind."""
        return [path.name.removesuffix(self.suffix) for path in self._files()]

    def exposed(self) -> list[str]:
        """Return the files that others can read, and the directory if they can enter it."""
        paths = [path for path in (self._directory, *self._files()) if path.exists()]
        return [too_open(path) for path in paths if path.stat().st_mode & 0o77]

    def _files(self) -> list[Path]:
        paths = sorted(self._directory.iterdir()) if self._directory.is_dir() else []
        return [path for path in paths if path.name != self.dates]

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{self.suffix}"

    def _encode(self, text: str) -> bytes:
        return text.encode()

    def _decode(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")

    def _dates(self) -> dict[str, str]:
        file = self._directory / self.dates
        dates: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return dates

    def _date(self, name: str, since: datetime | None) -> None:
        dates = {key: value for key, value in self._dates().items() if key != name}
        if since:
            dates[name] = since.isoformat(timespec="seconds")
        text = json.dumps(dict(sorted(dates.items())), indent=2)
        replace(self._directory / self.dates, f"{text}\n".encode(), self.mode)


class AgeFiles(PlainFiles):
    """One file per secret, encrypted with age to all users who deploy, and meant to be committed."""

    suffix = ".age"
    dates = "dates.json"
    mode = 0o644

    def prepare(self) -> str | None:
        """Create the private key if there is none; return a message if so. Raises ConfigError without recipients."""
        return age.ensure_identity(self._environment)

    def exposed(self) -> list[str]:
        """Return the private key if others can read it, and files that are not encrypted."""
        key = age.identity_file(self._environment)
        open_ = [too_open(key)] if key.is_file() and key.stat().st_mode & 0o77 else []
        plain = [path for path in self._files() if path.suffix != self.suffix]
        return open_ + [f"{shown(path)} is not encrypted: remove it" for path in plain]

    def _encode(self, text: str) -> bytes:
        return age.encrypt(self._environment, text)

    def _decode(self, path: Path) -> str:
        return age.decrypt(self._environment, path)


class Command:
    """A password manager, queried with a command. Its values are changed there."""

    writable = False

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._failures: dict[str, str] = {}

    def prepare(self) -> str | None:
        """Return None: there is nothing to create."""
        return None

    def read(self, name: str) -> str | None:
        """Return the command's output, or None if it fails."""
        argv = self._argv(name)
        try:
            result = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=_COMMAND_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(
                f"secrets.command: {error}", step="secrets", next=f"Try it by hand: {' '.join(argv)}"
            ) from error
        if result.returncode:
            self._failures[name] = f" ended with status {result.returncode}: {result.stderr.strip()}"
            return None
        return result.stdout.strip()

    def write(self, name: str, value: str, since: datetime) -> None:  # noqa: ARG002 (the protocol requires it)
        """Raise UsageError: ppmctl does not write to password managers."""
        raise UsageError(
            f"{name} comes from `{self.shown(name)}` and is changed there",
            next=f"Change it there, then: ppmctl deploy -e {self._environment.name}",
        )

    def remove(self, name: str) -> None:
        """Do nothing: the password manager's values are not ours to remove."""

    def shown(self, name: str) -> str:
        """Return the command, and its error if it failed."""
        return f"{' '.join(self._argv(name))}{self._failures.get(name, '')}"

    def since(self) -> Mapping[str, datetime]:
        """Return an empty collection: only the password manager knows."""
        return {}

    def names(self) -> list[str]:
        """Return an empty collection: only the password manager knows."""
        return []

    def exposed(self) -> list[str]:
        """Return an empty list: there are no files."""
        return []

    def _argv(self, name: str) -> list[str]:
        values = {"{name}": name, "{environment}": self._environment.name}
        argv = list(self._environment.secrets.command)
        for mark, value in values.items():
            argv = [part.replace(mark, value) for part in argv]
        return argv
