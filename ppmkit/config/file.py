"""Read ``deploy/inventory/<environment>.yaml``. Errors say file, line and column, in plain words."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from ppmkit.config.document import Document, Remark, kind, parse
from ppmkit.config.environment import Environment
from ppmkit.config.errors import remarks
from ppmkit.config.types import NAME, NAME_IN_WORDS
from ppmkit.errors import ConfigError, UsageError
from ppmkit.paths import PROJECT

EXAMPLE = ".example"
"""The ending of the names of environments that are meant to be copied."""


def local_path(named: str) -> Path:
    """Return the file or directory on this machine that a config names.

    ``~`` and ``~user`` are home directories; a relative path starts at the project's folder. Raises ConfigError.
    """
    try:
        return PROJECT / Path(named).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{named}: this machine has no such user", next="Write the full path") from error


def inventory() -> Path:
    """Return the directory of the environments; PPMCTL_INVENTORY overrides it."""
    return Path(os.environ.get("PPMCTL_INVENTORY") or PROJECT / "deploy" / "inventory")


def environments() -> list[str]:
    """Return the names of the environments, without the examples."""
    return sorted(path.stem for path in inventory().glob("*.yaml") if not path.stem.endswith(EXAMPLE))


def load(name: str) -> Environment:
    """Return the environment with this name. Raises ConfigError with every mistake in its file."""
    return read(name)[1]


def read(name: str) -> tuple[Document, Environment]:
    """Return an environment's file, and the environment itself. Raises ConfigError with every mistake in the file."""
    path = inventory() / f"{name}.yaml"
    if not path.is_file():
        raise _no_such_environment(name, path)
    shown = os.path.relpath(path)
    bare = name.removesuffix(EXAMPLE)
    if not re.fullmatch(NAME, bare):
        raise _not_a_name(bare, path)
    document = parse(_text(path, shown), shown)
    if not isinstance(document.data, Mapping):
        raise ConfigError(
            f"{shown}:1:1: found {kind(document.data)}; an environment is a mapping of keys to values",
            next="Start from a copy of production.example.yaml",
        )
    problems = [*document.wrong_keys(), *document.control_characters()]
    try:
        environment = Environment.model_validate({**document.plain(), "name": bare})
    except ValidationError as error:
        raise document_error(document, [*problems, *remarks(error, document)]) from error
    if problems:
        raise document_error(document, problems)
    return document, environment


def document_error(document: Document, found: Iterable[Remark]) -> ConfigError:
    """Return the error with all mistakes in a file, sorted by line."""
    return ConfigError(
        "\n".join(str(remark) for remark in sorted(found)),
        next=f"Fix {document.file}; every key is in docs/configuration.md and `ppmctl config schema`",
    )


def load_hosts(name: str) -> Environment:
    """Return an environment that has hosts. Raises ConfigError, and UsageError for an environment of kind `dev`."""
    environment = load(name)
    if not environment.hosts:
        raise UsageError(
            f"{name} is plain Docker Compose on this machine and has no hosts",
            next=f"docker compose -p {environment.project} ps, logs, exec, …",
        )
    return environment


def dump(environment: Environment) -> str:
    """Return the environment as YAML, with every default filled in."""
    yaml = YAML()
    yaml.default_flow_style = False
    out = StringIO()
    yaml.dump(environment.model_dump(mode="json", exclude={"name"}), out)
    return out.getvalue()


def schema() -> str:
    """Return the JSON Schema of an environment's file, for editors."""
    document = Environment.model_json_schema()
    document["properties"].pop("name")
    document["required"].remove("name")
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _text(path: Path, shown: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: it is not UTF-8: {error}", next=f"Save {shown} as UTF-8") from error


def _no_such_environment(name: str, path: Path) -> ConfigError:
    shown = os.path.relpath(path)
    if (other := path.with_suffix(".yml")).is_file():
        return ConfigError(
            f"there is no environment {name}: {shown} does not exist, but {other.name} does",
            next=f"Rename it: mv {os.path.relpath(other)} {shown}",
        )
    names = environments()
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return ConfigError(
        f"there is no environment {name}: {shown} does not exist{hint}",
        next=f"Environments: {', '.join(names) or 'none'}; for a new one, copy production.example.yaml",
    )


def _not_a_name(name: str, path: Path) -> ConfigError:
    fit = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32]
    shown = os.path.relpath(path)
    return ConfigError(
        f"{shown}: the file name is the environment's name, but `{name}` is not a valid name; allowed: {NAME_IN_WORDS}",
        next=f"Rename the file, for example to {fit}.yaml" if re.fullmatch(NAME, fit) else "Rename the file",
    )
