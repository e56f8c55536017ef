"""The checks of `ppmctl config check` beyond the values: files that the config names, and likely mistakes."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ByteSize

from ppmkit.config.document import Document, Location, Remark, dotted, texts
from ppmkit.config.environment import Environment
from ppmkit.config.errors import model_in
from ppmkit.config.file import EXAMPLE, document_error, local_path, read

_RESERVED = re.compile(
    r"(?<![\w-])(?:[\w-]+\.)*example\.(?:com|net|org)(?![\w-]|\.\w)"  # RFC 2606
    r"|(?<![\w.])(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}(?!\d)"  # RFC 5737
    r"|(?<![\w:])2001:0?db8:[0-9a-f:]*",  # RFC 3849
    re.IGNORECASE,
)
"""Names and addresses that are reserved for examples."""
_PUBLIC = re.compile(rb"(ssh-|ecdsa-|sk-|age1)")
"""The beginning of a public key of SSH or age."""


_INTO_COMPOSE = {"url", "app", "proxy", "images"}
"""Keys whose values are written into a Compose file."""


@dataclass(frozen=True)
class Named:
    """A file that the config names and that must exist."""

    location: Location
    path: Path
    wrong: str | None
    """Why the file cannot be used, or None."""


def check(name: str) -> tuple[Environment, list[Remark]]:
    """Return an environment, and the warnings about its file, sorted by line.

    Raises ConfigError with every mistake, including each named file that cannot be used.
    """
    document, environment = read(name)
    named = files(environment)
    wrong = [document.remark(each.location, f"{dotted(each.location)}: {each.wrong}") for each in named if each.wrong]
    if wrong:
        raise document_error(document, wrong)
    warnings = [*_without_unit(document), *_without_key(document, environment)]
    warnings += [document.remark(location, sentence) for location, sentence in _double_dollars(environment)]
    if not name.endswith(EXAMPLE):
        warnings += _placeholders(document)
    return environment, sorted(warnings)


def notes(environment: Environment) -> tuple[str, ...]:
    """Return notes about values that are valid but may be a mistake, one line each."""
    return tuple(sentence for _, sentence in _double_dollars(environment))


def _double_dollars(environment: Environment) -> Iterator[tuple[Location, str]]:
    for location, text in texts(environment.model_dump(mode="json", include=_INTO_COMPOSE)):
        if "$$" in text:
            sentence = "`$$` is two dollar signs; earlier versions made it one. To get one, write `$`"
            yield location, f"{dotted(location)}: {sentence}"


def files(environment: Environment) -> list[Named]:
    """Return the files on this machine that the config names, except missing ones that a command will create.

    `lab up` creates a lab's SSH key and known_hosts; `secrets init` creates the age key and the directory.
    """
    ssh, secrets = environment.ssh, environment.secrets
    named = []
    if ssh.identity_file and environment.kind == "hosts":
        path = local_path(ssh.identity_file)
        named.append(Named(("ssh", "identity_file"), path, _no_key(path) or _open_to_others(path)))
    if ssh.known_hosts_file and environment.kind == "hosts":
        path = local_path(ssh.known_hosts_file)
        named.append(Named(("ssh", "known_hosts_file"), path, _no_file(path)))
    if secrets.provider != "command" and secrets.directory and _exists(path := local_path(secrets.directory)):
        named.append(Named(("secrets", "directory"), path, _no_directory(path)))
    keys = {
        ("secrets", "identity_file"): secrets.identity_file if secrets.provider == "age" else None,
        ("backup", "identity_file"): environment.backup.identity_file,
    }
    for location, key in keys.items():
        if key and _exists(path := local_path(key)):
            named.append(Named(location, path, _no_key(path)))
    return named


def _exists(path: Path) -> bool:
    """Return whether the path exists, as far as this user can tell."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # this user may not enter a directory above it
        return True
    return True


def _no_directory(path: Path) -> str | None:
    """Return why the path cannot be used as a directory, or None."""
    try:
        return None if stat.S_ISDIR(path.stat().st_mode) else f"{path} is not a directory"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"


def _no_file(path: Path) -> str | None:
    """Return why the file cannot be read, or None."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return f"{path} is not a file"
        path.open("rb").close()
    except FileNotFoundError:
        return f"{path} does not exist"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None


def _no_key(path: Path) -> str | None:
    """Return why no private key can be read from the file, or None."""
    if wrong := _no_file(path):
        return wrong
    with path.open("rb") as file:
        public = _PUBLIC.match(file.read(16))
    if public or path.suffix == ".pub":
        return f"{path} is a public key; use the private key"
    return None


def _open_to_others(path: Path) -> str | None:
    """Return why OpenSSH ignores a readable private key, or None (sshkey_perm_ok in its authfile.c)."""
    status = path.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        return f"other users can read {path}, so SSH ignores it: chmod 600 {path}"
    return None


def _without_unit(document: Document) -> Iterator[Remark]:
    """Yield a warning about every size that is a bare number."""
    for location, value in document.scalars():
        if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d*(\.\d+)?", str(value)) or not _is_size(location):
            continue
        read_as = f"{ByteSize(float(value)):,} bytes"
        sentence = f"{dotted(location)}: {value} has no unit and is read as {read_as}; write {value}B, or {value}MiB"
        yield document.remark(location, sentence)


def _is_size(location: Location) -> bool:
    annotation: Any = Environment
    for part in location:
        if isinstance(part, str):
            model = model_in(annotation)
            if model is None:  # a mapping whose keys the user chooses
                return False
            annotation = model.model_fields[part].annotation
    return _holds_size(annotation)


def _holds_size(annotation: Any) -> bool:
    return annotation is ByteSize or any(_holds_size(part) for part in get_args(annotation))


def _without_key(document: Document, environment: Environment) -> Iterator[Remark]:
    """Yield a warning if the backups' private key is missing here. Only commands that read a backup need it."""
    key, location = environment.backup.identity_file, ("backup", "identity_file")
    if key and not _exists(local_path(key)):
        sentence = f"{local_path(key)} does not exist; `backup verify`, `drill` and `restore` need it"
        yield document.remark(location, f"{dotted(location)}: {sentence}")


def _placeholders(document: Document) -> Iterator[Remark]:
    """Yield a warning about every name and address that is reserved for examples."""
    for location, value in document.scalars():
        for match in _RESERVED.finditer(value) if isinstance(value, str) else ():
            yield document.remark(location, f"{dotted(location)}: {match[0]} is reserved for examples; write your own")
