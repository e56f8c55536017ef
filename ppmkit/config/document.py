"""The YAML of an environment's file, with the line and column of each item. Pure."""

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
"""The path to a part of the file: keys, and positions in lists."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_KEY = re.compile(r"(?:\?\s+)?(.*?)\s*(?::(?=\s|$)|$)")


@dataclass(frozen=True, order=True)
class Remark:
    """One message about a place in a file."""

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
    """The path that users see in messages."""
    text: str
    data: Any
    """ruamel's containers, which know the lines of their items."""

    def remark(self, location: Location, sentence: str) -> Remark:
        """Return a remark about the deepest part of ``location`` that exists in the file."""
        data = self.data
        line, column = 1, 1
        for key in location:
            position = _position(data, key)
            if position is None:
                break
            line, column = position
            data = data[key]
        return Remark(self.file, line, column, sentence)

    def plain(self) -> Any:
        """Return plain containers, which pydantic can check strictly, without the keys that are not text."""
        return _plain(self.data)

    def wrong_keys(self) -> Iterator[Remark]:
        """Yield a remark about every key that YAML does not read as text."""
        return self._wrong_keys((), self.data)

    def _wrong_keys(self, location: Location, value: Any) -> Iterator[Remark]:
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            if isinstance(value, Mapping) and not isinstance(key, str):
                yield self._wrong_key(location, value, key)
            else:
                yield from self._wrong_keys((*location, key), item)

    def _wrong_key(self, location: Location, mapping: Any, key: Any) -> Remark:
        where, position = dotted(location) or "the file", _position(mapping, key)
        if position is None:  # merged from an anchor, which gets its own remark
            return self.remark(location, f"{where}: the key `{key}` is {kind(key)}, not text")
        line, column = position
        match = _KEY.match("".join(self.text.splitlines()[line - 1 : line])[column - 1 :])
        written = (match and match[1]) or str(key)
        sentence = f'{where}: YAML reads the key `{written}` as {kind(key)}; quote it: "{written}"'
        return Remark(self.file, line, column, sentence)

    def control_characters(self) -> Iterator[Remark]:
        """Yield a remark about every text with a character that no container variable and no path may contain."""
        for location, text in texts(self.data):
            if control := _CONTROL.search(text):
                where = _CONTROL.sub("?", dotted(location))
                yield self.remark(location, f"{where}: a value cannot contain the character {control[0]!r}")

    def scalars(self) -> Iterator[tuple[Location, Any]]:
        """Yield every value that is not a container, with its location."""
        return _scalars((), self.data)


def parse(text: str, file: str) -> Document:
    """Return the parsed YAML file. Raises ConfigError with line and column."""
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
    """Yield every text in a value, including keys, with its location."""
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
    """Return a location in the usual notation: hosts[0].address."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def kind(value: Any) -> str:
    """Return the kind of a value, in terms of YAML."""
    names: dict[type | tuple[type, ...], str] = {
        type(None): "null",
        (list, tuple): "a list",
        Mapping: "a mapping",
        str: "text",
        bool: "true or false",
        (int, float): "a number",
        datetime.date: "a date",
    }
    return next((name for kinds, name in names.items() if isinstance(value, kinds)), type(value).__name__)


def _position(data: Any, key: Any) -> tuple[int, int] | None:
    """Return an item's line and column, from 1, in ruamel's container, or None if the item has none there."""
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
