"""Where the values of an environment's secrets are on this machine: age files, plain files, or whoever a command asks.

Age files are made to be committed: ``secrets/<environment>/<name>.age``, encrypted to ``secrets.recipients``. Beside
them ``dates.json`` says since when each secret has its value.
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
    """Values of secrets by name."""

    writable: bool
    """Whether ppmctl may write to it."""

    def prepare(self) -> str | None:
        """Make what writing needs; return what was done, if anything."""

    def read(self, name: str) -> str | None:
        """Return the value, or None when there is none."""

    def write(self, name: str, value: str, since: datetime) -> None:
        """Replace the value."""

    def remove(self, name: str) -> None:
        """Have no such value any more."""

    def shown(self, name: str) -> str:
        """Return where the value is, for people."""

    def since(self) -> Mapping[str, datetime]:
        """Return since when each secret has its value, as far as that is known."""

    def names(self) -> list[str]:
        """Return the names under which there is something."""

    def exposed(self) -> list[str]:
        """Return what can be read by others and should not be, a line each with how to mend it."""


def open_store(environment: Environment) -> Store:
    """Return where the environment's secrets are."""
    if environment.secrets.provider == "command":
        return Command(environment)
    kinds = {"age": AgeFiles, "files": PlainFiles}
    return kinds[environment.secrets.provider](environment)


class PlainFiles:
    """A file for each secret, mode 0600."""

    writable = True
    suffix = ""
    dates = ".dates.json"
    mode = 0o600

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._directory = local_path(environment.secrets.directory or f"secrets/{environment.name}")

    def prepare(self) -> str | None:
        """Return None: there is nothing to make."""
        return None

    def read(self, name: str) -> str | None:
        """Return the value without its last line break, or None when there is no file."""
        path = self._path(name)
        return self._decode(path).strip() if path.is_file() else None

    def write(self, name: str, value: str, since: datetime) -> None:
        """Replace the file as a whole; nobody else can read it, at no time."""
        replace(self._path(name), self._encode(f"{value}\n"), self.mode)
        self._date(name, since)

    def remove(self, name: str) -> None:
        """Remove the file."""
        self._path(name).unlink(missing_ok=True)
        self._date(name, None)

    def shown(self, name: str) -> str:
        """Return the path of the file, from the working directory where that is above."""
        return shown(self._path(name))

    def since(self) -> Mapping[str, datetime]:
        """Return what the file of the dates says."""
        return {name: datetime.fromisoformat(text) for name, text in self._dates().items()}

    def names(self) -> list[str]:
        """Return the names of the files, also of those that are no secrets of this kind."""
        return [path.name.removesuffix(self.suffix) for path in self._files()]

    def exposed(self) -> list[str]:
        """Return the files that others can read, and the directory when they can."""
        paths = [path for path in (self._directory, *self._files()) if path.exists()]
        return [too_open(path) for path in paths if path.stat().st_mode & 0o77]

    def _files(self) -> list[Path]:
        found = sorted(self._directory.iterdir()) if self._directory.is_dir() else []
        return [path for path in found if path.name != self.dates]

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{self.suffix}"

    def _encode(self, text: str) -> bytes:
        return text.encode()

    def _decode(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")

    def _dates(self) -> dict[str, str]:
        file = self._directory / self.dates
        found: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return found

    def _date(self, name: str, since: datetime | None) -> None:
        dates = {key: value for key, value in self._dates().items() if key != name}
        if since:
            dates[name] = since.isoformat(timespec="seconds")
        text = json.dumps(dict(sorted(dates.items())), indent=2)
        replace(self._directory / self.dates, f"{text}\n".encode(), self.mode)


class AgeFiles(PlainFiles):
    """A file for each secret, encrypted with age to everyone who deploys: made to be committed."""

    suffix = ".age"
    dates = "dates.json"
    mode = 0o644

    def prepare(self) -> str | None:
        """Make the private key of who has none; return what was done. Raises ConfigError without recipients."""
        return age.ensure_identity(self._environment)

    def exposed(self) -> list[str]:
        """Return the private key when others can read it, and files that are not encrypted."""
        key = age.identity_file(self._environment)
        open_ = [too_open(key)] if key.is_file() and key.stat().st_mode & 0o77 else []
        plain = [path for path in self._files() if path.suffix != self.suffix]
        return open_ + [f"{shown(path)} is not encrypted: remove it" for path in plain]

    def _encode(self, text: str) -> bytes:
        return age.encrypt(self._environment, text)

    def _decode(self, path: Path) -> str:
        return age.decrypt(self._environment, path)


class Command:
    """A password manager, asked by a command; what it holds is changed there."""

    writable = False

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._said: dict[str, str] = {}

    def prepare(self) -> str | None:
        """Return None: there is nothing to make."""
        return None

    def read(self, name: str) -> str | None:
        """Return what the command prints, or None when it fails."""
        argv = self._argv(name)
        try:
            done = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=_COMMAND_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(
                f"secrets.command: {error}", step="secrets", next=f"Try it by hand: {' '.join(argv)}"
            ) from error
        if done.returncode:
            self._said[name] = f" ended with status {done.returncode}: {done.stderr.strip()}"
            return None
        return done.stdout.strip()

    def write(self, name: str, value: str, since: datetime) -> None:  # noqa: ARG002 (it is the protocol's)
        """Raise UsageError: ppmctl writes to no password manager."""
        raise UsageError(
            f"{name} comes from `{self.shown(name)}` and is changed there",
            next=f"Change it there, then: ppmctl deploy -e {self._environment.name}",
        )

    def remove(self, name: str) -> None:
        """Leave it: what is there is none of ours."""

    def shown(self, name: str) -> str:
        """Return the command, and what it has said when it failed."""
        return f"{' '.join(self._argv(name))}{self._said.get(name, '')}"

    def since(self) -> Mapping[str, datetime]:
        """Return nothing: only the password manager knows."""
        return {}

    def names(self) -> list[str]:
        """Return nothing: only the password manager knows."""
        return []

    def exposed(self) -> list[str]:
        """Return nothing: there are no files."""
        return []

    def _argv(self, name: str) -> list[str]:
        values = {"{name}": name, "{environment}": self._environment.name}
        argv = list(self._environment.secrets.command)
        for mark, value in values.items():
            argv = [part.replace(mark, value) for part in argv]
        return argv
