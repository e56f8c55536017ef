"""Reading ``deploy/inventory/<environment>.yaml``: errors point at file, line and column, in plain words."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from deploy.config import Environment
from deploy.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""
_EXAMPLE = ".example"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INTO_COMPOSE = {"url", "app", "proxy", "images"}
"""Keys whose values stand in a Compose file."""
Location = tuple[int | str, ...]


def inventory() -> Path:
    """Return the directory of the environments; PPMCTL_INVENTORY names another one."""
    return Path(os.environ.get("PPMCTL_INVENTORY") or ROOT / "deploy" / "inventory")


def environments() -> list[str]:
    """Return the names of the environments, without the examples."""
    return sorted(path.stem for path in inventory().glob("*.yaml") if not path.stem.endswith(_EXAMPLE))


def load(name: str) -> Environment:
    """Return the environment of that name. Raises ConfigError with every mistake in its file."""
    path = inventory() / f"{name}.yaml"
    if not path.is_file():
        raise _no_such_environment(name, path)
    text = path.read_text()
    shown = os.path.relpath(path)
    data = _parse(text, shown)
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{shown}:1:1: found {_kind(data)}; an environment is a mapping of keys to values",
            next="Begin with a copy of production.example.yaml",
        )
    try:
        _refuse_control_characters(data, shown)
        return Environment.model_validate({**_plain(data), "name": name.removesuffix(_EXAMPLE)})
    except ValidationError as error:
        found = sorted(_sentences(error, data))
        lines = [f"{shown}:{line}:{column}: {sentence}" for line, column, sentence in found]
        raise ConfigError(
            "\n".join(lines), next=f"Mend {shown}; every key is in docs/configuration.md and `ppmctl config schema`"
        ) from error


def load_hosts(name: str) -> Environment:
    """Return an environment that has hosts. Raises ConfigError, and UsageError for one of kind `dev`."""
    environment = load(name)
    if not environment.hosts:
        raise UsageError(
            f"{name} is plain Docker Compose on this machine and has no hosts",
            next=f"docker compose -p {environment.project} ps, logs, exec, …",
        )
    return environment


def notes(environment: Environment) -> tuple[str, ...]:
    """Return what is right in the file and may still not be meant, a line each."""
    values = environment.model_dump(mode="json", include=_INTO_COMPOSE)
    return tuple(
        f"{_dotted(location)}: `$$` is two dollar signs. Compose made one of them once; if one is meant, write `$`"
        for location, text in _texts(values)
        if "$$" in text
    )


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


def _parse(text: str, shown: str) -> Any:
    try:
        return YAML().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        problem = (error.problem or str(error)).splitlines()[0].strip()
        raise ConfigError(f"{where}: {problem}", next=f"Mend {shown}") from error
    except YAMLError as error:
        raise ConfigError(f"{shown}: not YAML: {error}", next=f"Mend {shown}") from error


def _texts(value: Any, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """Yield every text in a value, keys too, with where it is."""
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                yield (*location, key), key
            yield from _texts(item, (*location, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, (*location, number))


def _refuse_control_characters(data: Any, shown: str) -> None:
    """Raise ConfigError where a text has a character that neither a variable of a container nor a path can have."""
    found = [(*_position(data, where), _dotted(where), _CONTROL.search(text)) for where, text in _texts(data)]
    lines = [
        f"{shown}:{line}:{column}: {_CONTROL.sub('?', path)}: a value cannot hold the character {control[0]!r}"
        for line, column, path, control in found
        if control
    ]
    if lines:
        raise ConfigError("\n".join(lines), next=f"Remove it from {shown}")


def _no_such_environment(name: str, path: Path) -> ConfigError:
    names = environments()
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return ConfigError(
        f"there is no environment {name}: {os.path.relpath(path)} does not exist{hint}",
        next=f"Environments: {', '.join(names) or 'none'}; a new one: copy production.example.yaml",
    )


def _plain(value: Any) -> Any:
    """Return ruamel's containers as plain ones, which is what pydantic checks strictly."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        type(None): "nothing",
        list: "a list",
        dict: "a mapping",
        str: "a text",
        bool: "true or false",
    }
    for kind, name in names.items():
        if isinstance(value, kind):
            return name
    return "a number" if isinstance(value, int | float) else type(value).__name__


def _sentences(error: ValidationError, data: Any) -> Iterator[tuple[int, int, str]]:
    for detail in error.errors(include_url=False):
        line, column = _position(data, detail["loc"])
        yield line, column, _sentence(detail)


def _position(data: Any, location: Location) -> tuple[int, int]:
    """Return line and column, from 1, of the deepest part of ``location`` that the file has."""
    line, column = 1, 1
    for key in location:
        marks = getattr(data, "lc", None)
        if marks is None:
            break
        try:
            row, col = marks.key(key) if isinstance(data, Mapping) else marks.item(key)
            data = data[key]
        except (KeyError, IndexError, TypeError):
            break
        line, column = row + 1, col + 1
    return line, column


def _sentence(detail: ErrorDetails) -> str:
    location = detail["loc"]
    path = _dotted(location)
    context, found = detail.get("ctx", {}), detail["input"]
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(location)
    if kind == "missing":
        return f"{_dotted(location[:-1]) or 'the file'} lacks the key `{location[-1]}`"
    if kind == "value_error":
        return f"{path}: {context['error']}" if path else str(context["error"])
    if kind == "literal_error":
        return f"{path}: found {found!r}; allowed: {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"{path}: found {found!r}; it must match {context['pattern']}"
    message = detail["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{path}: found {_shown(found)}; allowed: {message}"


def _shown(found: Any) -> str:
    return repr(found) if isinstance(found, str | int | float) else _kind(found)


def _dotted(location: Location) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _unknown_key(location: Location) -> str:
    known = [key for key in _keys(location[:-1]) if key != "name" or len(location) > 1]
    key = str(location[-1])
    near = difflib.get_close_matches(key, known, 1)
    hint = f"; did you mean `{near[0]}`?" if near else "."
    where = _dotted(location[:-1]) or "the file"
    return f"unknown key `{key}` in {where}{hint} Allowed: {', '.join(sorted(known))}"


def _keys(location: Location) -> list[str]:
    """Return the keys that the model at ``location`` knows."""
    model: type[BaseModel] = Environment
    for part in location:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation holds: itself, or inside a tuple or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
