"""The YAML of an environment's file, with line and column of everything in it. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ppmkit.errors import ConfigError

Location = tuple[int | str, ...]
"""The keys and numbers of list items that lead to a part of the file."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_KEY = re.compile(r"(?:\?\s+)?(.*?)\s*(?::(?=\s|$)|$)")


@dataclass(frozen=True, order=True)
class Remark:
    """One thing to say about a file."""

    file: str
    line: int
    column: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.sentence}"


@dataclass(frozen=True)
class Document:
    """A file that has been read."""

    file: str
    """The path, as people are shown it."""
    text: str
    data: Any
    """ruamel's containers, which know their lines."""

    def remark(self, location: Location, sentence: str) -> Remark:
        """Return a remark about the deepest part of ``location`` that the file has."""
        data = self.data
        line, column = 1, 1
        for key in location:
            found = _position(data, key)
            if found is None:
                break
            line, column = found
            data = data[key]
        return Remark(self.file, line, column, sentence)

    def plain(self) -> Any:
        """Return plain containers, which is what pydantic checks strictly, without keys that are no text."""
        return _plain(self.data)

    def wrong_keys(self) -> Iterator[Remark]:
        """Yield a remark about every key that YAML takes for something else than a text."""
        return self._wrong_keys((), self.data)

    def _wrong_keys(self, location: Location, value: Any) -> Iterator[Remark]:
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            if isinstance(value, Mapping) and not isinstance(key, str):
                yield self._wrong_key(location, value, key)
            else:
                yield from self._wrong_keys((*location, key), item)

    def _wrong_key(self, location: Location, mapping: Any, key: Any) -> Remark:
        where, found = dotted(location) or "the file", _position(mapping, key)
        if found is None:  # merged from an anchor, where it is remarked on
            return self.remark(location, f"{where}: the key `{key}` is {kind(key)}, not a text")
        line, column = found
        match = _KEY.match("".join(self.text.splitlines()[line - 1 : line])[column - 1 :])
        written = (match and match[1]) or str(key)
        sentence = f'{where}: YAML reads the key `{written}` as {kind(key)}; quote it: "{written}"'
        return Remark(self.file, line, column, sentence)

    def control_characters(self) -> Iterator[Remark]:
        """Yield a remark about every text with a character that no variable of a container and no path can have."""
        for location, text in texts(self.data):
            if control := _CONTROL.search(text):
                where = _CONTROL.sub("?", dotted(location))
                yield self.remark(location, f"{where}: a value cannot hold the character {control[0]!r}")

    def scalars(self) -> Iterator[tuple[Location, Any]]:
        """Yield every value that is no container, with where it is."""
        return _scalars((), self.data)


def parse(text: str, file: str) -> Document:
    """Return what a YAML file says. Raises ConfigError with line and column."""
    fix = f"Fix {file}"
    try:
        return Document(file, text, YAML().load(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        problem = (error.problem or str(error)).splitlines()[0].strip()
        raise ConfigError(f"{where}: {problem}", next=fix) from error
    except YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}", next=fix) from error


def texts(value: Any, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """Yield every text in a value, keys too, with where it is."""
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                yield (*location, key), key
            yield from texts(item, (*location, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from texts(item, (*location, number))


def dotted(location: Location) -> str:
    """Return a location as people write it: hosts[0].address."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def kind(value: Any) -> str:
    """Return what a value is, in the words of people who write YAML."""
    names: dict[type | tuple[type, ...], str] = {
        type(None): "nothing",
        (list, tuple): "a list",
        Mapping: "a mapping",
        str: "a text",
        bool: "true or false",
        (int, float): "a number",
        datetime.date: "a date",
    }
    return next((name for kinds, name in names.items() if isinstance(value, kinds)), type(value).__name__)


def _position(data: Any, key: Any) -> tuple[int, int] | None:
    """Return line and column, from 1, of an item of ruamel's container, or None where it has none of its own."""
    marks = getattr(data, "lc", None)
    if marks is None:
        return None
    try:
        row, column = marks.key(key) if isinstance(data, Mapping) else marks.item(key)
        data[key]
    except (KeyError, IndexError, TypeError):
        return None
    return row + 1, column + 1


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if isinstance(key, str)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return value


def _scalars(location: Location, value: Any) -> Iterator[tuple[Location, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _scalars((*location, key), item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _scalars((*location, number), item)
    else:
        yield location, value
